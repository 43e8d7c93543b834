"""What bodies may hold, and that nothing that somebody sends is a fault of ours."""

import json

import pytest
from rest_framework import serializers

from voxbilling.api import parsers
from voxbilling.api.fields import TextField, WholeNumberField
from voxbilling.storable_text import is_storable

pytestmark = pytest.mark.django_db
SIGN_IN = "/api/auth/token/"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "username=ada&password=secret",
        "{'username': 'ada'}",
        '{"username": NaN}',
        '{"username": Infinity}',
        b'{"username": "\xff"}',
        "\ufeff{}",
        "[" * 50_000,
        '{"a":' * 10_000,
        '{"username": ' + "9" * 5_000 + "}",
        '{"username": "ada", "username": "grace", "password": "secret"}',
        '{"username": "ada", "password": "secret", "more": {"a": 1, "a": 2}}',
        '{"username": 1e999, "password": "secret"}',
        '{"username": "\\ud800", "password": "secret"}',
        '{"username": "\\u0000", "password": "secret"}',
        '{"username": {"$ne": ""}, "password": ["secret"]}',
        '{"username": true, "password": false}',
        "null",
        "0",
        '"text"',
        "[]",
        '[{"username": "ada", "password": "secret"}]',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_given_a_body_of_another_form_then_it_is_bad_input(ask, body):
    answer = ask("POST", SIGN_IN, body=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_input"
    assert len(answer.json()["error"]) > 10


@pytest.mark.parametrize(
    ("size", "status"),
    [
        (parsers.MAX_BODY_BYTES, 400),
        (parsers.MAX_BODY_BYTES + 1, 413),
        (6 * 1024 * 1024, 413),
    ],
)
def test_given_a_body_that_is_too_large_then_it_is_refused(ask, size, status):
    answer = ask("POST", SIGN_IN, body=b" " * size)

    assert answer.status_code == status
    assert answer.json()["code"] == ("too_large" if status == 413 else "bad_input")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "?"],
)
def test_given_any_content_type_then_the_body_is_json(client, content_type):
    body = json.dumps({"username": "ada"})

    answer = client.generic("POST", SIGN_IN, body, content_type=content_type)

    assert answer.json()["fields"] == {"password": ["This field is required."]}


def test_given_several_wrong_fields_then_each_is_named(ask):
    answer = ask("POST", SIGN_IN, body={"username": 1, "password": "\0"})

    assert answer.json() == {
        "error": "username: Not a valid string.",
        "code": "bad_input",
        "fields": {
            "username": ["Not a valid string."],
            "password": ["Null characters are not allowed."],
        },
    }


class Fields(serializers.Serializer):
    text = TextField(max_length=5, required=False)
    number = WholeNumberField(min_value=0, max_value=10, required=False)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"text": text}
            for text in ["", "  ", "\n", "123456", "\0", "a\ud800", 1, 1.5, True, None]
        ),
        *({"text": text} for text in [[], {}, ["a"]]),
        *({"number": number} for number in ["1", "", 1.0, 1.5, True, None, -1, 11, 10**5_000, [1]]),
        *({"number": number} for number in [float("inf"), float("nan")]),
    ],
    ids=lambda wrong: (
        repr(wrong)[:40] if "number" not in wrong or wrong["number"] != 10**5_000 else "huge"
    ),
)
def test_given_a_value_of_another_type_then_its_field_is_wrong(wrong):
    fields = Fields(data=wrong)

    assert not fields.is_valid()
    assert set(fields.errors) == set(wrong)


@pytest.mark.parametrize(
    "right", [{"text": " a "}, {"text": "é😀"}, {"text": "a\nb"}, {"number": 0}, {"number": 10}]
)
def test_given_a_value_of_its_type_then_it_is_kept_as_it_is(right):
    fields = Fields(data=right)

    assert fields.is_valid()
    assert fields.validated_data == right


@pytest.mark.parametrize("character", ["\0", "\ud800", "\x01", "\ufffe", "\U0010ffff"])
def test_given_any_character_then_the_field_takes_what_can_be_stored(character):
    assert Fields(data={"text": f"a{character}"}).is_valid() == is_storable(character)
