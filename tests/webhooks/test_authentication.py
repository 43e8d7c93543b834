import base64
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.http.request import HttpHeaders
from hypothesis import given
from hypothesis import strategies as st

from voxbilling.untrusted import MalformedBody, load
from webhooks.authentication import (
    MAX_SIGNATURE_AGE_SECONDS,
    WebhookNotAuthenticated,
    authenticate_vapi,
)

PAYLOADS = sorted((Path(__file__).parent / "payloads").glob("*.json"))
BODY = PAYLOADS[0].read_bytes()
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
MILLISECONDS = str(int(NOW.timestamp() * 1000))
OLD, NEW = "the-old-secret", "the-new-secret"
OLD_KEY, NEW_KEY = "the-old-signing-key", "the-new-signing-key"


@pytest.fixture(autouse=True)
def secrets(settings: Any) -> None:
    settings.VAPI_WEBHOOK_SECRETS = [OLD, NEW]
    settings.VAPI_WEBHOOK_HMAC_SECRETS = [OLD_KEY, NEW_KEY]


def headers(**values: str) -> HttpHeaders:
    """Headers as Django hands them over: `x_signature="…"` came in as `X-Signature: …`."""
    return HttpHeaders({f"HTTP_{name.upper()}": value for name, value in values.items()})


def sign(signed: bytes, key: str = NEW_KEY, algorithm: str = "sha256", form: str = "hex") -> str:
    digest = hmac.digest(key.encode(), signed, algorithm)
    return digest.hex() if form == "hex" else base64.b64encode(digest).decode()


def signed_headers(body: bytes = BODY, timestamp: str = SECONDS, **how: str) -> HttpHeaders:
    signature = sign(f"{timestamp}.".encode() + body, **how)
    return headers(x_signature=signature, x_timestamp=timestamp)


def refused(given_headers: HttpHeaders, body: bytes = BODY, now: datetime = NOW) -> str:
    with pytest.raises(WebhookNotAuthenticated) as refusal:
        authenticate_vapi(given_headers, body, now)
    return str(refusal.value)


# Secrets


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x_vapi_secret", "{}"),
        ("authorization", "Bearer {}"),
        ("authorization", "bearer {}"),
        ("authorization", "BEARER   {}"),
        ("authorization", "{}"),
    ],
)
def test_given_two_secrets_in_rotation_when_either_is_sent_then_the_request_is_accepted(
    name: str, form: str, secret: str
) -> None:
    authenticate_vapi(headers(**{name: form.format(secret)}), BODY, NOW)


@pytest.mark.parametrize("name", ["x_vapi_secret", "authorization"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "wrong",
        "Bearer wrong",
        f"Basic {NEW}",
        f"Bearer Bearer {NEW}",
        NEW[:-1],
        NEW + "x",
        NEW.upper(),
        f"{OLD},{NEW}",
        OLD_KEY,
        "clé-à-molette",
        "\N{SNOWMAN}",
        "\ud800",
        "\x00",
    ],
)
def test_given_secrets_when_another_value_is_sent_then_the_request_is_refused(
    name: str, value: str
) -> None:
    refused(headers(**{name: value}))


def test_given_a_bearer_prefix_when_it_is_in_x_vapi_secret_then_the_request_is_refused() -> None:
    refused(headers(x_vapi_secret=f"Bearer {NEW}"))


def test_given_a_secret_beyond_ascii_when_its_utf8_bytes_are_sent_then_it_is_accepted(
    settings: Any,
) -> None:
    settings.VAPI_WEBHOOK_SECRETS = ["clé-à-molette"]
    on_the_wire = "clé-à-molette".encode().decode("latin-1")  # as WSGI hands it over

    authenticate_vapi(headers(x_vapi_secret=on_the_wire), BODY, NOW)


def test_given_no_credential_when_a_request_comes_then_it_is_refused() -> None:
    refused(headers())


@pytest.mark.parametrize("blank", [[], [""], [" ", ""]])
@pytest.mark.parametrize("value", ["", " ", "Bearer ", NEW])
def test_given_no_usable_secret_configured_when_anything_is_sent_then_it_is_refused(
    settings: Any, blank: list[str], value: str
) -> None:
    settings.VAPI_WEBHOOK_SECRETS = blank
    settings.VAPI_WEBHOOK_HMAC_SECRETS = blank
    timestamped = f"{SECONDS}.".encode() + BODY

    reason = refused(
        headers(
            x_vapi_secret=value,
            authorization=value,
            x_timestamp=SECONDS,
            x_signature=hmac.digest(b"", timestamped, "sha256").hex(),
            x_vapi_signature=hmac.digest(b"", BODY, "sha256").hex(),
        )
    )

    assert "no webhook secret configured" in reason


def test_given_a_blank_among_the_secrets_when_an_empty_header_is_sent_then_it_is_refused(
    settings: Any,
) -> None:
    settings.VAPI_WEBHOOK_SECRETS = ["", NEW]
    settings.VAPI_WEBHOOK_HMAC_SECRETS = ["", NEW_KEY]

    refused(headers(x_vapi_secret="", authorization="Bearer "))
    refused(headers(x_vapi_signature=hmac.digest(b"", BODY, "sha256").hex()))


@pytest.mark.parametrize(
    ("given_headers", "accepted"),
    [
        ({"x_vapi_secret": NEW}, False),
        ({"authorization": f"Bearer {NEW}"}, False),
        ({"x_vapi_signature": sign(BODY)}, True),
    ],
)
def test_given_only_signing_keys_when_a_plain_secret_is_sent_then_it_is_refused(
    settings: Any, given_headers: dict[str, str], accepted: bool
) -> None:
    settings.VAPI_WEBHOOK_SECRETS = []

    if accepted:
        authenticate_vapi(headers(**given_headers), BODY, NOW)
    else:
        refused(headers(**given_headers))


# Signatures


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda path: path.stem)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("form", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "{algorithm}=", "v1="])
def test_given_a_real_payload_when_it_is_signed_then_every_form_of_signature_is_accepted(
    payload: Path, algorithm: str, form: str, prefix: str
) -> None:
    body = payload.read_bytes()
    prefix = prefix.format(algorithm=algorithm)
    timestamped = f"{SECONDS}.".encode() + body

    authenticate_vapi(
        headers(
            x_timestamp=SECONDS,
            x_signature=prefix + sign(timestamped, algorithm=algorithm, form=form),
        ),
        body,
        NOW,
    )
    authenticate_vapi(
        headers(x_vapi_signature=prefix + sign(body, algorithm=algorithm, form=form)), body, NOW
    )


@pytest.mark.parametrize("key", [OLD_KEY, NEW_KEY])
def test_given_two_keys_in_rotation_when_either_signed_then_the_request_is_accepted(
    key: str,
) -> None:
    authenticate_vapi(signed_headers(key=key), BODY, NOW)
    authenticate_vapi(headers(x_vapi_signature=sign(BODY, key)), BODY, NOW)


def test_given_a_signature_in_capitals_when_it_is_hex_then_it_is_accepted() -> None:
    authenticate_vapi(headers(x_vapi_signature=sign(BODY).upper()), BODY, NOW)


def test_given_a_body_that_is_no_text_when_it_is_signed_then_only_its_bytes_count() -> None:
    body = b"\xff\x00\xfe not text"

    authenticate_vapi(signed_headers(body), body, NOW)
    refused(signed_headers(body), body.replace(b"\xff", b"\xef\xbf\xbd"))


@pytest.mark.parametrize(
    "tampered",
    [BODY + b" ", BODY[:-1], BODY[1:], BODY.replace(b"0", b"1", 1), b""],
    ids=["longer", "shorter", "beginning", "one-byte", "empty"],
)
def test_given_a_signed_request_when_its_body_is_changed_then_it_is_refused(
    tampered: bytes,
) -> None:
    refused(signed_headers(), tampered)
    refused(headers(x_vapi_signature=sign(BODY)), tampered)


@given(st.integers(min_value=0, max_value=len(BODY) - 1), st.integers(min_value=1, max_value=255))
def test_given_a_signed_request_when_any_byte_is_changed_then_it_is_refused(
    position: int, difference: int
) -> None:
    changed = bytearray(BODY)
    changed[position] ^= difference

    refused(signed_headers(), bytes(changed))


def tampered_signatures() -> list[str]:
    signature = sign(f"{SECONDS}.".encode() + BODY)
    encoded = sign(f"{SECONDS}.".encode() + BODY, form="base64")
    flipped = ("1" if signature[0] == "0" else "0") + signature[1:]
    return [
        "",
        "=",
        "sha256=",
        signature[:-1],
        signature[:-2],
        signature[:40],  # as long as a SHA-1
        signature * 2,  # as long as a SHA-512
        signature + "00",
        flipped,
        f"sha256=sha256={signature}",
        f"{signature},{signature}",
        f"a-prefix-that-is-too-long={signature}",
        encoded.rstrip("="),
        encoded[:-2] + "=",
        base64.b64encode(signature.encode()).decode(),
        sign(f"{SECONDS}.".encode() + BODY, key="another-key"),
        sign(f"{SECONDS}.".encode() + BODY, algorithm="md5"),
        sign(f"{SECONDS}.".encode() + BODY, algorithm="sha384"),
        sign(f"{SECONDS}.".encode() + BODY, key=NEW),  # a secret is no signing key
        sign(BODY),  # without the timestamp
        sign(f"{SECONDS}".encode() + BODY),
        "é" * 64,
        "\N{FULLWIDTH DIGIT ONE}" * 64,
        "\ud800",
    ]


@pytest.mark.parametrize("signature", tampered_signatures())
def test_given_a_signed_request_when_its_signature_is_changed_then_it_is_refused(
    signature: str,
) -> None:
    refused(headers(x_timestamp=SECONDS, x_signature=signature))


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        "",
        " ",
        str(int(SECONDS) + 1),
        MILLISECONDS,
        SECONDS + ".0",
        "+" + SECONDS,
        "0" + SECONDS,
        "-1",
        "nan",
        "1e9",
        "٣٤٥",
        "²",
        "9" * 400,
        "2026-03-01T12:00:00Z",
        "\ud800",
    ],
)
def test_given_a_signed_request_when_its_timestamp_is_changed_then_it_is_refused(
    timestamp: str | None,
) -> None:
    signature = sign(f"{SECONDS}.".encode() + BODY)
    sent = {} if timestamp is None else {"x_timestamp": timestamp}

    refused(headers(x_signature=signature, **sent))


@pytest.mark.parametrize("timestamp", ["", "nan", "inf", "1e9", "-1", "9" * 400, SECONDS + ".5"])
def test_given_a_timestamp_that_is_no_number_when_it_is_signed_then_it_is_refused(
    timestamp: str,
) -> None:
    refused(signed_headers(timestamp=timestamp))


@pytest.mark.parametrize("in_milliseconds", [False, True])
@pytest.mark.parametrize(
    ("age_seconds", "accepted"),
    [
        (0, True),
        (MAX_SIGNATURE_AGE_SECONDS, True),
        (-MAX_SIGNATURE_AGE_SECONDS, True),
        (MAX_SIGNATURE_AGE_SECONDS + 1, False),
        (-MAX_SIGNATURE_AGE_SECONDS - 1, False),
        (86_400 * 365, False),
    ],
)
def test_given_a_signed_timestamp_when_it_is_too_far_from_now_then_it_is_refused(
    age_seconds: int, accepted: bool, in_milliseconds: bool
) -> None:
    timestamp = MILLISECONDS if in_milliseconds else SECONDS
    now = NOW + timedelta(seconds=age_seconds)

    if accepted:
        authenticate_vapi(signed_headers(timestamp=timestamp), BODY, now)
    else:
        refused(signed_headers(timestamp=timestamp), now=now)


def test_given_one_kind_of_signature_when_passed_off_as_the_other_then_nothing_is_gained() -> None:
    timestamped = f"{SECONDS}.".encode() + BODY
    signature = sign(timestamped)

    # The body that this signature covers without a timestamp is authentic, and is no JSON.
    authenticate_vapi(headers(x_vapi_signature=signature), timestamped, NOW)
    with pytest.raises(MalformedBody):
        load(timestamped)
    # And no timestamp can be cut out of a signed JSON object.
    refused(headers(x_signature=sign(BODY), x_timestamp=BODY[:1].decode()), BODY[2:])


# Several at once


@pytest.mark.parametrize(
    "valid",
    [
        {"x_vapi_secret": NEW},
        {"authorization": f"Bearer {NEW}"},
        {"x_vapi_signature": sign(BODY)},
        {"x_signature": sign(f"{SECONDS}.".encode() + BODY), "x_timestamp": SECONDS},
    ],
    ids=["secret", "bearer", "body-signature", "timestamped-signature"],
)
def test_given_one_valid_credential_when_the_others_are_wrong_then_the_request_is_accepted(
    valid: dict[str, str],
) -> None:
    wrong = {
        "x_vapi_secret": "",
        "authorization": "Bearer retired",
        "x_signature": "00" * 32,
        "x_timestamp": "0",
        "x_vapi_signature": "no signature",
    }

    refused(headers(**wrong))
    authenticate_vapi(headers(**wrong | valid), BODY, NOW)


def test_given_any_wrong_credential_when_it_is_refused_then_the_answer_does_not_say_which() -> None:
    reasons = {
        refused(headers()),
        refused(headers(x_vapi_secret="wrong")),
        refused(headers(authorization="Bearer wrong")),
        refused(headers(x_vapi_signature="00" * 32)),
        refused(signed_headers(), now=NOW + timedelta(hours=1)),
    }

    assert len(reasons) == 1
    assert not any(secret in str(reasons) for secret in [OLD, NEW, OLD_KEY, NEW_KEY])


@given(
    st.dictionaries(
        st.sampled_from(
            ["x_vapi_secret", "authorization", "x_signature", "x_timestamp", "x_vapi_signature"]
        ),
        st.text(),
    ),
    st.binary(),
)
def test_given_any_header_values_when_a_request_comes_then_it_is_refused_and_nothing_else_raised(
    values: dict[str, str], body: bytes
) -> None:
    refused(headers(**values), body)
