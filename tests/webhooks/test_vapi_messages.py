import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.references import CallReference
from telephony.models import VAPI_MAX_DURATION_SECONDS
from voxbilling.untrusted import MalformedBody, load
from webhooks.vapi_messages import (
    AssistantRequest,
    EndOfCallReport,
    Message,
    NotNeeded,
    StatusCheck,
    StatusUpdate,
    Unusable,
    pick,
    read,
    read_status_check,
)

BODIES = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "payloads").iterdir()}
NUMBER_ID = "0c0ffee0-0000-4000-8000-0000000000bb"
ASSISTANT_ID = "0c0ffee0-0000-4000-8000-0000000000cc"
NUMBER = "+442079460999"
CONTROL_URL = "https://monitor.invalid/do-not-store/control"
# What the payloads carry and the disk must never see.
PRIVATE = ("do-not-store", "+447700900999", "monitor.invalid", "storage.invalid")
# Written out again here: a field that is added to the allow-list by accident fails these tests.
STORABLE_PATHS = {
    ("message", *path.split("."))
    for path in [
        *("type", "timestamp", "status", "endedReason", "startedAt", "endedAt"),
        *("durationSeconds", "durationMs", "durationMinutes", "cost", "costBreakdown.total"),
        *("call.id", "call.type", "call.assistantId", "call.squadId", "call.phoneNumberId"),
        *("call.phoneNumber.id", "call.phoneNumber.number"),
        *("phoneNumber.id", "phoneNumber.number", "assistant.id"),
    ]
}


def call_id(number: int) -> str:
    return f"0c0ffee0-0000-4000-8000-{number:012}"


def outbound_call(control_url: str | None = CONTROL_URL) -> CallReference:
    return CallReference(
        vapi_call_id=call_id(3),
        call_type="outboundPhoneCall",
        vapi_phone_number_id=NUMBER_ID,
        phone_number=NUMBER,
        vapi_assistant_id=ASSISTANT_ID,
        control_url=control_url,
    )


def receive(body: bytes) -> Message:
    """All the way from bytes to a message, through the text that the database would hold."""
    picked = pick(load(body))
    return read(json.loads(json.dumps(picked.storable)), picked.control_url)


def receive_message(**message: Any) -> Message:
    return receive(json.dumps({"message": message}).encode())


def report(**fields: Any) -> EndOfCallReport:
    message = receive_message(type="end-of-call-report", call={"id": "c"}, **fields)
    assert isinstance(message, EndOfCallReport)
    return message


def update(**fields: Any) -> StatusUpdate:
    message = receive_message(
        **{"type": "status-update", "status": "ended", "call": {"id": "c"}} | fields
    )
    assert isinstance(message, StatusUpdate)
    return message


# Whole payloads


PAYLOAD_MESSAGES = {
    "assistant-request": AssistantRequest(
        call=CallReference(
            vapi_call_id=call_id(1),
            call_type="inboundPhoneCall",
            vapi_phone_number_id=NUMBER_ID,
            phone_number=NUMBER,
        ),
        sent_at=datetime(2024, 7, 25, 18, 53, 47, 736_000, UTC),
    ),
    "status-update-in-progress": StatusUpdate(
        call=CallReference(
            vapi_call_id=call_id(2),
            call_type="webCall",
            vapi_assistant_id=ASSISTANT_ID,
            control_url=CONTROL_URL,
        ),
        status="in-progress",
        ended_reason=None,
        occurred_at=datetime(2025, 6, 10, 9, 7, 0, 647_000, UTC),
    ),
    "status-update-queued-outbound": StatusUpdate(
        call=outbound_call(),
        status="queued",
        ended_reason=None,
        occurred_at=datetime(2025, 6, 10, 9, 6, 55, 710_000, UTC),
    ),
    "status-update-ended": StatusUpdate(
        call=outbound_call(),
        status="ended",
        ended_reason="customer-ended-call",
        occurred_at=datetime(2025, 6, 10, 9, 9, 35, 103_000, UTC),
    ),
    "status-update-ended-without-call": Unusable(
        type="status-update",
        reason="The status-update has no call id, so no call can be found for it.",
    ),
    "end-of-call-report-2025": EndOfCallReport(
        call=outbound_call(),
        ended_reason="customer-ended-call",
        started_at=datetime(2025, 6, 10, 9, 7, 0, 647_000, UTC),
        ended_at=datetime(2025, 6, 10, 9, 9, 35, 103_000, UTC),
        duration_seconds=154,
        cost_usd=Decimal("0.2317"),
    ),
    "end-of-call-report-2024": EndOfCallReport(
        call=CallReference(
            vapi_call_id=call_id(4),
            call_type="inboundPhoneCall",
            vapi_phone_number_id=NUMBER_ID,
            phone_number=NUMBER,
        ),
        ended_reason="assistant-ended-call",
        started_at=None,
        ended_at=None,
        duration_seconds=None,
        cost_usd=None,
    ),
    "speech-update": NotNeeded(
        type="speech-update", reason="Billing needs no messages of type speech-update."
    ),
}


def test_given_the_payloads_when_listed_then_each_has_its_expected_message() -> None:
    assert BODIES.keys() == PAYLOAD_MESSAGES.keys()


@pytest.mark.parametrize("name", sorted(PAYLOAD_MESSAGES))
def test_given_a_payload_when_it_is_received_then_it_says_what_billing_needs(name: str) -> None:
    assert receive(BODIES[name]) == PAYLOAD_MESSAGES[name]


@pytest.mark.parametrize("name", sorted(PAYLOAD_MESSAGES))
def test_given_a_payload_when_it_is_picked_then_nothing_private_may_be_stored(name: str) -> None:
    picked = pick(load(BODIES[name]))

    assert any(private in BODIES[name].decode() for private in PRIVATE)
    for text in (json.dumps(picked.storable), repr(picked), repr(receive(BODIES[name]))):
        assert not any(private in text for private in PRIVATE)


@pytest.mark.parametrize("name", sorted(PAYLOAD_MESSAGES))
def test_given_a_payload_when_all_else_in_it_is_a_secret_then_no_secret_may_be_stored(
    name: str,
) -> None:
    document = json.loads(BODIES[name])
    for path, parent in leaves(document):
        if named(path) not in STORABLE_PATHS:
            parent[path[-1]] = "planted-secret"
    extra = {"transcript": "planted-secret", "metadata": {"id": "planted-secret"}}
    document |= extra
    document["message"] |= extra
    document["message"].setdefault("call", {}).update(extra)

    picked = pick(document)

    assert "planted-secret" not in json.dumps(picked.storable)
    assert {named(path) for path, _ in leaves(picked.storable)} <= STORABLE_PATHS


def test_given_a_report_when_it_is_picked_then_exactly_this_is_stored() -> None:
    assert pick(load(BODIES["end-of-call-report-2025"])).storable == {
        "message": {
            "type": "end-of-call-report",
            "timestamp": "2025-06-10T09:09:40.321000+00:00",
            "startedAt": "2025-06-10T09:07:00.647000+00:00",
            "endedAt": "2025-06-10T09:09:35.103000+00:00",
            "endedReason": "customer-ended-call",
            "durationSeconds": "154.456",
            "durationMs": "154456",
            "durationMinutes": "2.5743",
            "cost": "0.2317",
            "costBreakdown": {"total": "0.2317"},
            "call": {
                "id": call_id(3),
                "type": "outboundPhoneCall",
                "assistantId": ASSISTANT_ID,
                "phoneNumberId": NUMBER_ID,
            },
            "phoneNumber": {"id": NUMBER_ID, "number": NUMBER},
            "assistant": {"id": ASSISTANT_ID},
        }
    }


def test_given_a_message_when_it_was_read_then_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PAYLOAD_MESSAGES["assistant-request"].call = outbound_call()  # type: ignore[misc, union-attr]


# Loading


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'message': 1}",
        b'{"a": 1}x',
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": NaN}',
        b"[Infinity]",
        b"-Infinity",
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000,
        b"1e99999999999999999999",
        b"callId=1&durationSeconds=60",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_given_a_body_that_is_no_readable_json_when_loaded_then_a_sentence_says_so(
    body: bytes,
) -> None:
    with pytest.raises(MalformedBody, match=r"^The body .*\.$"):
        load(body)


def test_given_an_endless_number_where_nobody_looks_when_loaded_then_nothing_is_lost() -> None:
    body = b'{"message": {"type": "hang", "score": ' + b"9" * 5_000 + b"}}"

    assert read(pick(load(body)).storable) == NotNeeded(
        "hang", "Billing needs no messages of type hang."
    )


def test_given_fractions_when_loaded_then_they_are_exact() -> None:
    assert load(b"[0.1, 2, 1e2]") == [Decimal("0.1"), 2, Decimal(100)]


@given(st.binary() | st.text().map(str.encode))
def test_given_any_bytes_when_loaded_then_nothing_but_malformed_body_is_raised(
    body: bytes,
) -> None:
    with contextlib.suppress(MalformedBody):
        load(body)


# Messages that say nothing usable


@pytest.mark.parametrize(
    "document",
    [
        None,
        True,
        0,
        "message",
        [],
        [{"message": {"type": "status-update"}}],
        {},
        {"message": None},
        {"message": []},
        {"message": "status-update"},
        {"type": "status-update"},
        {"message": {}},
        {"message": {"status": "ended"}},
        {"message": {"type": None}},
        {"message": {"type": 1}},
        {"message": {"type": ""}},
        {"message": {"type": ["status-update"]}},
        {"message": {"type": "status\0update"}},
        {"message": {"type": "x" * 201}},
    ],
)
def test_given_no_message_with_a_type_when_received_then_it_is_unusable(document: object) -> None:
    expected = Unusable(None, "The body holds no message that names its type.")

    assert receive(json.dumps(document).encode()) == expected


@pytest.mark.parametrize("kind", ["assistant-request", "status-update", "end-of-call-report"])
@pytest.mark.parametrize(
    "call",
    [
        None,
        {},
        [],
        "c",
        {"id": None},
        {"id": 7},
        {"id": True},
        {"id": ""},
        {"id": " "},
        {"id": "a\0b"},
        {"id": "\ud800"},
        {"id": "x" * 201},
        {"id": {"id": "c"}},
    ],
)
def test_given_no_usable_call_id_when_received_then_it_is_unusable(kind: str, call: object) -> None:
    expected = Unusable(kind, f"The {kind} has no call id, so no call can be found for it.")

    assert receive_message(type=kind, status="ended", call=call) == expected


@pytest.mark.parametrize("status", [None, 1, "", ["ended"], "\ud83d", "x" * 201])
def test_given_no_usable_status_when_received_then_it_is_unusable(status: object) -> None:
    expected = Unusable("status-update", "The status-update names no status.")

    assert receive_message(type="status-update", status=status, call={"id": "c"}) == expected


def test_given_a_status_that_vapi_added_when_received_then_it_is_passed_over() -> None:
    message = receive_message(type="status-update", status="on-hold", call={"id": "c"})

    assert message == NotNeeded("status-update", "Billing does not know the status on-hold.")


@pytest.mark.parametrize(
    "status",
    [
        "scheduled",
        "queued",
        "ringing",
        "in-progress",
        "forwarding",
        "ended",
        "not-found",
        "deletion-failed",
    ],
)
def test_given_a_status_of_vapis_schema_when_received_then_it_is_told(status: str) -> None:
    assert update(status=status).status == status


@pytest.mark.parametrize("kind", ["speech-update", "hang", "tool-calls", "added-tomorrow"])
def test_given_a_type_without_billing_when_received_then_it_is_not_needed(kind: str) -> None:
    assert receive_message(type=kind) == NotNeeded(
        kind, f"Billing needs no messages of type {kind}."
    )


# Which call


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({}, (None, None, None)),
        (
            {
                "phoneNumber": {"id": "n1", "number": "+1"},
                "call": {"phoneNumberId": "n2", "phoneNumber": {"id": "n3", "number": "+3"}},
            },
            ("n1", "+1", None),
        ),
        (
            {"call": {"phoneNumberId": "n2", "phoneNumber": {"id": "n3", "number": "+3"}}},
            ("n2", "+3", None),
        ),
        ({"call": {"phoneNumber": {"id": "n3"}}}, ("n3", None, None)),
        ({"phoneNumber": {"id": 5}, "call": {"phoneNumberId": "n2"}}, ("n2", None, None)),
        ({"phoneNumber": "n1", "call": {"phoneNumber": "n3"}}, (None, None, None)),
        ({"call": {"assistantId": "a1"}, "assistant": {"id": "a2"}}, (None, None, "a1")),
        ({"call": {"assistantId": None}, "assistant": {"id": "a2"}}, (None, None, "a2")),
        ({"assistant": "a2"}, (None, None, None)),
        # Whoever starts a call can set metadata, so it names nobody.
        ({"call": {"metadata": {"phoneNumberId": "n9", "assistantId": "a9"}}}, (None, None, None)),
    ],
)
def test_given_ids_in_several_places_when_received_then_the_call_has_the_first_usable(
    message: dict[str, Any], found: tuple[str | None, str | None, str | None]
) -> None:
    call = {"id": "c", **message.pop("call", {})}
    received = receive_message(type="assistant-request", call=call, **message)

    assert isinstance(received, AssistantRequest)
    reference = received.call
    assert (
        reference.vapi_phone_number_id,
        reference.phone_number,
        reference.vapi_assistant_id,
    ) == found


@pytest.mark.parametrize(
    "url",
    [
        "https://phone-call-websocket.aws-us-west-2-backend-production2.vapi.ai/7f/control",
        "https://vapi.ai:8443/control?token=x",
        "http://127.0.0.1:4010/control/1",
        "http://localhost:4010/control/1",
        "http://[::1]:4010/control/1",
    ],
)
def test_given_a_control_url_when_picked_then_it_is_kept_apart_and_reaches_the_call(
    url: str,
) -> None:
    document = {
        "message": {
            "type": "assistant-request",
            "call": {"id": "c", "monitor": {"controlUrl": url}},
        }
    }

    picked = pick(document)
    message = read(picked.storable, picked.control_url)

    assert isinstance(message, AssistantRequest)
    assert message.call.control_url == picked.control_url == url
    assert read(picked.storable) == AssistantRequest(CallReference(vapi_call_id="c"), None)
    assert url not in json.dumps(picked.storable) + repr(picked) + repr(message)


@pytest.mark.parametrize(
    "url",
    [
        None,
        1,
        "",
        "control",
        "//vapi.ai/control",
        "wss://vapi.ai/control",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///control",
        "https:vapi.ai",
        "http://vapi.ai/control",
        "http://127.0.0.1.vapi.ai/control",
        "http://localhost.vapi.ai/control",
        "http://127.0.0.1@vapi.ai/control",
        "https://user:password@vapi.ai/control",
        "http://127.0.0.1\\@vapi.ai/control",
        "https://vapi.ai\\.invalid/control",
        "https://vapi.ai:99999/control",
        "https://vapi.ai:port/control",
        "https://[::1/control",
        "https://vapi.ai/con trol",
        "https://vapi.ai/con\ntrol",
        "https://vapi.ai/control\n",
        "https://vapi.ai/control\0",
        "https://vapi.ai/\ud800",
        "https://väpi.ai/control",
        "https://vapi.ai/" + "x" * 500,
    ],
)
def test_given_an_unfit_control_url_when_picked_then_it_counts_as_missing(url: object) -> None:
    document = {"message": {"call": {"id": "c", "monitor": {"controlUrl": url}}}}

    assert pick(document).control_url is None


# Values


NOON = datetime(2025, 6, 10, 12, 0, tzinfo=UTC)
NOON_MS = 1_749_556_800_000
UNUSABLE_MOMENTS = [
    None,
    True,
    "",
    "yesterday",
    "2025-06-10",
    "2025-06-10T25:00:00Z",
    "2025-06-10T12:00:00Z\0",
    "\ud800T",
    "1999-12-31T23:59:59Z",
    "2100-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    str(NOON_MS),
    NOON_MS // 1000,  # seconds: read as milliseconds they are in 1970
    -NOON_MS,
    10**18,
    10**400,
    {"at": NOON_MS},
    [NOON_MS],
]


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (NOON_MS, NOON),
        (NOON_MS + 123, NOON + timedelta(milliseconds=123)),
        (NOON_MS + 0.75, NOON),
        ("2025-06-10T12:00:00.000Z", NOON),
        ("2025-06-10T12:00:00Z", NOON),
        ("2025-06-10T12:00:00.123456Z", NOON + timedelta(microseconds=123456)),
        ("2025-06-10T14:00:00+02:00", NOON),
        ("2025-06-10T12:00:00", NOON),
    ],
)
def test_given_a_moment_in_any_of_vapis_forms_when_received_then_it_is_in_utc(
    value: object, moment: datetime
) -> None:
    received = report(startedAt=value, endedAt=value)

    assert (received.started_at, received.ended_at) == (moment, moment)
    assert update(timestamp=value).occurred_at == moment
    assert received.started_at is not None
    assert received.started_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", UNUSABLE_MOMENTS)
def test_given_an_unusable_moment_when_received_then_it_counts_as_missing(value: object) -> None:
    received = report(startedAt=value, endedAt=value)

    assert (received.started_at, received.ended_at) == (None, None)
    assert update(timestamp=value).occurred_at is None


@pytest.mark.parametrize("number", ["1e999999999", "1e400", "-1e999999999", "1e-999999999"])
def test_given_a_number_beyond_all_bounds_when_received_then_it_counts_as_missing(
    number: str,
) -> None:
    body = f"""{{"message": {{"type": "end-of-call-report", "call": {{"id": "c"}},
        "startedAt": {number}, "endedAt": {number}, "timestamp": {number}}}}}"""

    message = receive(body.encode())

    assert isinstance(message, EndOfCallReport)
    assert (message.started_at, message.ended_at) == (None, None)


@pytest.mark.parametrize("moment", ["startedAt", "endedAt"])
def test_given_dates_only_in_the_embedded_call_when_received_then_they_are_not_believed(
    moment: str,
) -> None:
    call = {"id": "c", moment: "2025-06-10T12:00:00Z", "cost": 1, "endedReason": "hangup"}

    received = receive_message(type="end-of-call-report", call=call)

    assert received == EndOfCallReport(
        CallReference(vapi_call_id="c"), None, None, None, None, None
    )


@pytest.mark.parametrize(
    ("durations", "seconds"),
    [
        ({}, None),
        ({"durationSeconds": 154}, 154),
        ({"durationSeconds": 154.456}, 154),
        ({"durationSeconds": 154.5}, 155),
        ({"durationSeconds": 155.5}, 156),
        ({"durationSeconds": 154.4999999}, 154),
        ({"durationSeconds": 0}, 0),
        ({"durationSeconds": 0.4}, 1),
        ({"durationSeconds": 0.001}, 1),
        ({"durationMs": 154_499}, 154),
        ({"durationMs": 154_500}, 155),
        ({"durationMs": 1}, 1),
        ({"durationMs": 0}, 0),
        ({"durationMinutes": 2.5}, 150),
        ({"durationMinutes": 2.575}, 155),
        ({"durationMinutes": 2}, 120),
        ({"durationSeconds": 60, "durationMs": 90_000, "durationMinutes": 3}, 60),
        ({"durationSeconds": None, "durationMs": 90_000, "durationMinutes": 3}, 90),
        ({"durationSeconds": -1, "durationMs": True, "durationMinutes": 3}, 180),
        ({"durationSeconds": 10**8, "durationMs": 90_000}, 90),
        ({"durationSeconds": 43_203}, 43_203),
        ({"durationSeconds": 86_400}, 86_400),
        ({"durationSeconds": 86_401}, None),
        ({"durationMs": 86_400_001}, None),
        ({"durationMinutes": 1_441}, None),
        ({"durationSeconds": -0.5}, None),
        ({"durationSeconds": 10**400}, None),
        ({"durationSeconds": [60]}, None),
        ({"durationSeconds": "a minute"}, None),
        ({"durationSeconds": "sNaN"}, None),
        ({"durationSeconds": "Infinity"}, None),
        ({"durationSeconds": "\ud800"}, None),
        ({"durationSeconds": "1" * 500}, None),
    ],
)
def test_given_durations_when_received_then_the_first_usable_is_in_whole_seconds(
    durations: dict[str, Any], seconds: int | None
) -> None:
    assert report(**durations).duration_seconds == seconds


@pytest.mark.parametrize(
    ("costs", "cost_usd"),
    [
        ({}, None),
        ({"cost": 0.2317}, "0.2317"),
        ({"cost": 0.1}, "0.1"),
        ({"cost": 1}, "1"),
        ({"cost": 100}, "100"),
        ({"cost": 0}, "0"),
        ({"cost": -0.0}, "0"),
        ({"cost": 1e-7}, "0.0000001"),
        ({"cost": 10_000}, "10000"),
        ({"cost": 0, "costBreakdown": {"total": 0.5}}, "0"),
        ({"costBreakdown": {"total": 0.5}}, "0.5"),
        ({"cost": None, "costBreakdown": {"total": 0.5}}, "0.5"),
        ({"cost": -1, "costBreakdown": {"total": 0.5}}, "0.5"),
        ({"cost": True, "costBreakdown": {"total": 0.5}}, "0.5"),
        ({"cost": 10_001, "costBreakdown": {"total": 10_001}}, None),
        ({"cost": {"total": 0.5}}, None),
        ({"cost": "free", "costBreakdown": 0.5}, None),
        ({"costBreakdown": {"total": -0.5}}, None),
    ],
)
def test_given_costs_when_received_then_they_are_exact_dollars(
    costs: dict[str, Any], cost_usd: str | None
) -> None:
    assert report(**costs).cost_usd == (None if cost_usd is None else Decimal(cost_usd))


def test_given_a_cost_of_a_million_digits_when_picked_then_what_is_stored_stays_short() -> None:
    body = b'{"message": {"cost": 0.%s}}' % (b"3" * 1_000_000)

    assert pick(load(body)).storable == {"message": {"cost": "0." + "3" * 15}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("customer-ended-call", "customer-ended-call"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 500),
        ("x" * 500 + "\0", "x" * 500),
        (" " * 500 + "x", None),
        ("", None),
        ("bad\0reason", None),
        ("bad\ud800reason", None),
        ("caf\u00e9 \N{GRINNING FACE}", "caf\u00e9 \N{GRINNING FACE}"),
        (None, None),
        (7, None),
        (["customer-ended-call"], None),
    ],
)
def test_given_an_ended_reason_when_received_then_it_is_text_that_can_be_stored(
    value: object, reason: str | None
) -> None:
    assert report(endedReason=value).ended_reason == reason
    assert update(endedReason=value).ended_reason == reason


def test_given_an_id_that_is_no_uuid_when_received_then_it_is_kept_as_it_is() -> None:
    message = receive_message(type="assistant-request", call={"id": "Call/1 é" + "x" * 192})

    assert message == AssistantRequest(CallReference(vapi_call_id="Call/1 é" + "x" * 192), None)


# Status checks


@pytest.mark.parametrize(
    ("document", "check"),
    [
        ({"message": {"call": {"id": "a"}, "durationSeconds": 60}}, StatusCheck("a", 60)),
        ({"call": {"id": "b"}, "message": {"durationSeconds": 60}}, StatusCheck("b", 60)),
        ({"message": {"call": {"id": "a"}}, "call": {"id": "b"}}, StatusCheck("a", 0)),
        ({"message": {"call": {"id": 1}}, "call": {"id": "b"}}, StatusCheck("b", 0)),
        ({"message": {"call": {"id": "a\0"}}}, StatusCheck(None, 0)),
        ({"durationSeconds": 60}, StatusCheck(None, 0)),
        ({}, StatusCheck(None, 0)),
        ([], StatusCheck(None, 0)),
        (None, StatusCheck(None, 0)),
        ("call", StatusCheck(None, 0)),
    ],
)
def test_given_a_status_check_when_read_then_it_names_its_call(
    document: object, check: StatusCheck
) -> None:
    assert read_status_check(document) == check


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("0", 0),
        ("59.5", 60),
        ("60.5", 61),
        ("59.4999", 59),
        ("43200", VAPI_MAX_DURATION_SECONDS),
        ("43200.5", VAPI_MAX_DURATION_SECONDS),
        ("43201", VAPI_MAX_DURATION_SECONDS),
        ("1e12", VAPI_MAX_DURATION_SECONDS),
        ("1e999999999", VAPI_MAX_DURATION_SECONDS),
        ("1e-999999999", 0),
        ("-0.0", 0),
        ("-1", 0),
        ("-1e999999999", 0),
        ("true", 0),
        ("null", 0),
        ('"60"', 0),
        ("[60]", 0),
        ('{"seconds": 60}', 0),
    ],
)
def test_given_a_stated_duration_when_read_then_it_is_bounded_to_the_longest_call(
    stated: str, seconds: int
) -> None:
    body = f'{{"message": {{"durationSeconds": {stated}}}}}'.encode()

    assert read_status_check(load(body)).elapsed_seconds == seconds


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [(59.5, 60), (float("inf"), 0), (float("nan"), 0), (Decimal("sNaN"), 0)],
)
def test_given_a_document_parsed_with_floats_when_read_then_it_is_read_all_the_same(
    stated: object, seconds: int
) -> None:
    assert read_status_check({"message": {"durationSeconds": stated}}).elapsed_seconds == seconds


# Anything at all


def leaves(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value that holds no other, as its path and the container that it is in."""
    children = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for name, child in children:
        if isinstance(child, dict | list) and child:
            yield from leaves(child, (*path, name))
        else:
            yield (*path, name), value


def named(path: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(str(name) for name in path)


any_text = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["a\0b", "\ud800", "x" * 600, "2025-06-10T12:00:00Z", "T", "1e9", "ended", "https://vapi.ai/c"]
)
any_number = (
    st.integers()
    | st.decimals()
    | st.floats()
    | st.sampled_from([10**400, Decimal("1e999999999"), Decimal("1e-999999999"), NOON_MS])
)
any_json = st.recursive(
    st.none() | st.booleans() | any_number | any_text,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(any_text, children, max_size=3)
    ),
    max_leaves=10,
)
FIELDS = sorted({name for path in STORABLE_PATHS for name in path} | {"monitor", "controlUrl"})
KINDS = st.sampled_from(["assistant-request", "status-update", "end-of-call-report"])


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document with each of its keys."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for name, child in list(children):
        yield value, name
        if isinstance(child, dict | list):
            yield from places(child)


@st.composite
def mutated_payloads(draw: st.DrawFn) -> Any:
    """A payload with fields dropped, nulled, retyped and added, half of them where it matters."""
    document = copy.deepcopy(draw(st.sampled_from([json.loads(body) for body in BODIES.values()])))
    if draw(st.booleans()):
        document["message"]["type"] = draw(KINDS)
    for _ in range(draw(st.integers(min_value=1, max_value=5))):
        found = list(places(document))
        if draw(st.booleans()):
            found = [place for place in found if place[1] in FIELDS] or found
        if not found:
            break
        container, name = draw(st.sampled_from(found))
        change = draw(st.sampled_from(["drop", "null", "retype", "add"]))
        if change == "drop":
            del container[name]
        elif change == "null":
            container[name] = None
        elif change == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(FIELDS))] = draw(any_json)
        else:
            container[name] = draw(any_json)
    return document


@given(any_json | mutated_payloads() | st.fixed_dictionaries({"message": any_json}))
def test_given_any_document_when_picked_and_read_then_it_is_storable_and_reads_the_same(
    document: Any,
) -> None:
    picked = pick(document)
    stored = json.dumps(picked.storable, allow_nan=False)

    assert "\\u0000" not in stored
    json.dumps(picked.storable, ensure_ascii=False).encode()  # raises on half a surrogate pair
    assert {named(path) for path, _ in leaves(picked.storable)} <= STORABLE_PATHS
    for _, parent in leaves(picked.storable):
        assert all(isinstance(value, str | dict) for value in parent.values())
    assert len(stored) < 50_000
    restored = json.loads(stored)
    assert restored == picked.storable
    assert pick(restored).storable == picked.storable
    message = read(picked.storable, picked.control_url)
    assert read(restored, picked.control_url) == message
    assert read(document, picked.control_url) == message
    assert picked.control_url is None or picked.control_url not in repr((picked, message))


@given(mutated_payloads())
def test_given_a_mutated_payload_when_picked_then_nothing_private_may_be_stored(
    document: Any,
) -> None:
    text = json.dumps(pick(document).storable)

    assert not any(private in text for private in PRIVATE)


@given(mutated_payloads() | any_json)
def test_given_any_document_when_read_then_every_figure_is_within_bounds(document: Any) -> None:
    message = read(pick(document).storable)
    check = read_status_check(document)

    assert 0 <= check.elapsed_seconds <= VAPI_MAX_DURATION_SECONDS
    if isinstance(message, EndOfCallReport):
        assert 0 <= (message.duration_seconds or 0) <= 2 * VAPI_MAX_DURATION_SECONDS
        assert 0 <= (message.cost_usd or 0) <= 10_000
        for moment in (message.started_at, message.ended_at):
            assert moment is None or (moment.tzinfo is UTC and 2000 <= moment.year < 2100)


@given(
    st.timedeltas(timedelta(0), timedelta(days=36_000)),
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_given_any_moment_when_it_comes_in_any_zone_then_it_stays_the_same_moment(
    age: timedelta, offset_minutes: int
) -> None:
    moment = datetime(2000, 1, 1, tzinfo=UTC) + age
    local = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))

    assert report(startedAt=local.isoformat()).started_at == moment


@given(st.integers(min_value=0, max_value=2 * VAPI_MAX_DURATION_SECONDS * 1000))
def test_given_any_duration_when_it_comes_in_milliseconds_then_it_is_rounded_half_up(
    milliseconds: int,
) -> None:
    expected = max((milliseconds + 500) // 1000, min(milliseconds, 1))

    assert report(durationMs=milliseconds).duration_seconds == expected
    assert report(durationSeconds=milliseconds / 1000).duration_seconds == expected
