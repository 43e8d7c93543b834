"""Vapi's server messages: from untrusted bytes to what billing needs to know, and nothing more.

`load` and `pick` turn a request's body into JSON that may be stored, `read` turns that into a
message. A stored message and a fresh one take the same way through `read`.

Field names and meanings are those of Vapi's server-message schema. The `call` inside a message is
a snapshot from the call's creation (seen in Vapi's own payloads): ids are read from it, dates and
status never are.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import urlsplit

from calls.references import CallReference

# An id is opaque and means another call when cut, so one that is too long counts as missing.
MAX_TEXT_CHARS = 200
# A reason is for people and for matching by prefix, so it is cut.
MAX_REASON_CHARS = 500
MAX_CONTROL_URL_CHARS = 500
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# Vapi's own limit on a call (`maxDurationSeconds`).
MAX_CALL_SECONDS = 43_200
# Vapi's limit is not met to the second; twice as much is no call any more.
_MAX_REPORTED_SECONDS = 2 * MAX_CALL_SECONDS
# At a dollar a minute the longest call costs 720.
_MAX_COST_USD = Decimal(10_000)
# Above every duration in milliseconds, and small enough for Decimal's 28 digits with the step.
_MAX_NUMBER = Decimal(10**9)
_SMALLEST_STEP = Decimal("1e-15")
_ZERO = Decimal(0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_LATEST_MILLISECONDS = Decimal((_LATEST - _EPOCH) // timedelta(milliseconds=1))

# Those of Vapi's schema. One that Vapi adds later is passed over, it is no error.
_STATUSES = frozenset(
    {
        "scheduled",
        "queued",
        "ringing",
        "in-progress",
        "forwarding",
        "ended",
        "not-found",
        "deletion-failed",
    }
)


class MalformedBody(Exception):
    """The body is not JSON that can be read. The message may be returned to the caller."""


@dataclass(frozen=True)
class Picked:
    """`storable` may be written to the database; `control_url` is a secret and kept apart."""

    storable: dict[str, Any]
    control_url: str | None = field(repr=False)


@dataclass(frozen=True)
class AssistantRequest:
    """Vapi asks which assistant takes an inbound call, and waits for the answer."""

    call: CallReference


@dataclass(frozen=True)
class StatusUpdate:
    """A call's status changed, at `occurred_at` (UTC; None if the message has no usable date)."""

    call: CallReference
    status: str
    ended_reason: str | None
    occurred_at: datetime | None


@dataclass(frozen=True)
class EndOfCallReport:
    """A call has ended. The dates (UTC) are the truth about its length.

    `duration_seconds` is for a report without dates: whole seconds, rounded half up, at least 1
    if there was any duration. `cost_usd` is what Vapi charges the operator.
    """

    call: CallReference
    ended_reason: str | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: int | None
    cost_usd: Decimal | None


@dataclass(frozen=True)
class NotNeeded:
    """A message that billing has no use for; `reason` is a sentence for staff."""

    type: str
    reason: str


@dataclass(frozen=True)
class Unusable:
    """A message that billing would need and cannot use; `reason` is a sentence for staff."""

    type: str | None
    reason: str


Message = AssistantRequest | StatusUpdate | EndOfCallReport | NotNeeded | Unusable


@dataclass(frozen=True)
class StatusCheck:
    """Whether a call may go on; `elapsed_seconds` is 0 to 43,200, and 0 if not usable."""

    vapi_call_id: str | None
    elapsed_seconds: int


def load(raw_body: bytes) -> object:
    """The body as JSON, its fractions as Decimal. Raises MalformedBody."""
    try:
        return json.loads(
            raw_body.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise MalformedBody(f"The body is not JSON (character {error.pos}).") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except (ValueError, ArithmeticError):
        raise MalformedBody("The body is not UTF-8, or a number in it cannot be read.") from None


def pick(document: object) -> Picked:
    """The fields that billing needs, cleaned, in Vapi's own places; everything else is left out.

    An allow-list: transcripts, prompts, recordings, credentials, metadata and the customer's
    number are dropped because nothing names them. Picking what was picked changes nothing.
    """
    return Picked(
        storable=_allowed(document, _ALLOWED),
        control_url=_control_url(_at(document, "message", "call", "monitor", "controlUrl")),
    )


def read(picked_json: object, control_url: str | None = None) -> Message:
    """What a picked message says. Reads any JSON without raising: a stored row is not trusted."""
    message = _allowed(picked_json, _ALLOWED).get("message", {})
    kind = message.get("type")
    if kind is None:
        return Unusable(None, "The body holds no message that names its type.")
    if kind not in {"assistant-request", "status-update", "end-of-call-report"}:
        return NotNeeded(kind, f"Billing needs no messages of type {kind}.")
    call = _call_reference(message, control_url)
    if call is None:
        return Unusable(kind, f"The {kind} has no call id, so no call can be found for it.")
    if kind == "status-update":
        return _status_update(message, call)
    return AssistantRequest(call) if kind == "assistant-request" else _report(message, call)


def read_status_check(document: object) -> StatusCheck:
    """The call that a status check asks about, and for how long it says the call has lasted."""
    stated = _at(document, "message", "durationSeconds")
    elapsed = None if isinstance(stated, str) else _number(stated)
    return StatusCheck(
        vapi_call_id=_text(_at(document, "message", "call", "id"))
        or _text(_at(document, "call", "id")),
        elapsed_seconds=_whole_seconds(
            min(max(elapsed or _ZERO, _ZERO), Decimal(MAX_CALL_SECONDS))
        ),
    )


def _status_update(message: Mapping[str, Any], call: CallReference) -> Message:
    status = message.get("status")
    if status is None:
        return Unusable("status-update", "The status-update names no status.")
    if status not in _STATUSES:
        return NotNeeded("status-update", f"Billing does not know the status {status}.")
    return StatusUpdate(
        call=call,
        status=status,
        ended_reason=message.get("endedReason"),
        occurred_at=_moment(message.get("timestamp")),
    )


def _report(message: Mapping[str, Any], call: CallReference) -> EndOfCallReport:
    cost = _number(message.get("cost"))
    if cost is None:
        cost = _number(_at(message, "costBreakdown", "total"))
    return EndOfCallReport(
        call=call,
        ended_reason=message.get("endedReason"),
        started_at=_moment(message.get("startedAt")),
        ended_at=_moment(message.get("endedAt")),
        duration_seconds=_duration_seconds(message),
        cost_usd=cost,
    )


def _call_reference(message: Mapping[str, Any], control_url: str | None) -> CallReference | None:
    call_id = _at(message, "call", "id")
    if call_id is None:
        return None
    return CallReference(
        vapi_call_id=call_id,
        call_type=_at(message, "call", "type"),
        vapi_phone_number_id=_at(message, "phoneNumber", "id")
        or _at(message, "call", "phoneNumberId")
        or _at(message, "call", "phoneNumber", "id"),
        phone_number=_at(message, "phoneNumber", "number")
        or _at(message, "call", "phoneNumber", "number"),
        vapi_assistant_id=_at(message, "call", "assistantId") or _at(message, "assistant", "id"),
        control_url=control_url,
    )


def _duration_seconds(message: Mapping[str, Any]) -> int | None:
    """The first usable of the durations that were seen beside the dates, though in no schema."""
    for name, seconds_per_unit in _SECONDS_PER_UNIT.items():
        number = _number(message.get(name))
        if number is None:
            continue
        seconds = number * seconds_per_unit
        if seconds <= _MAX_REPORTED_SECONDS:
            # A call that connected is at least one second long.
            return max(_whole_seconds(seconds), int(seconds > 0))
    return None


_SECONDS_PER_UNIT = {
    "durationSeconds": Decimal(1),
    "durationMs": Decimal("0.001"),
    "durationMinutes": Decimal(60),
}


def _at(value: object, *path: str) -> Any:
    """What lies at this path of objects; None if the path leads nowhere."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object, max_chars: int = MAX_TEXT_CHARS) -> str | None:
    """Text that PostgreSQL can store: no NUL, no half of a surrogate pair; None if blank."""
    if not isinstance(value, str) or len(value) > max_chars or not value.strip() or "\0" in value:
        return None
    return None if any("\ud800" <= character <= "\udfff" for character in value) else value


def _reason(value: object) -> str | None:
    return _text(value[:MAX_REASON_CHARS], MAX_REASON_CHARS) if isinstance(value, str) else None


def _number(value: object) -> Decimal | None:
    """A finite number. JSON's true is none; a string is how the stored form writes a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (ValueError, ArithmeticError):
        return None
    return number if number.is_finite() else None


def _number_text(value: object, maximum: Decimal = _MAX_NUMBER) -> str | None:
    """A number as the stored form writes it. As text, so that reading it back makes no float."""
    number = _number(value)
    if number is None or not 0 <= number <= maximum:
        return None
    # Cut, not rounded: rounding happens once, to whole seconds.
    return format(abs(number.quantize(_SMALLEST_STEP, ROUND_DOWN)).normalize(), "f")


def _cost_text(value: object) -> str | None:
    return _number_text(value, _MAX_COST_USD)


def _whole_seconds(seconds: Decimal) -> int:
    return int(seconds.quantize(Decimal(1), ROUND_HALF_UP))


def _moment(value: object) -> datetime | None:
    """A moment in UTC, from ISO 8601 (without a zone: UTC) or from milliseconds since 1970."""
    try:
        if isinstance(value, str):
            # A date without a time would pass for midnight, and make a day of a short call.
            text = _text(value) or ""
            moment = datetime.fromisoformat(text if "T" in text else "")
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            # Bounded before int(): written-out digits of 1e999999999 would fill the memory.
            milliseconds = min(max(_number(value) or _ZERO, _ZERO), _LATEST_MILLISECONDS)
            moment = _EPOCH + timedelta(milliseconds=int(milliseconds))
    except (ValueError, OverflowError):
        return None
    return moment if _EARLIEST <= moment < _LATEST else None


def _moment_text(value: object) -> str | None:
    moment = _moment(value)
    return moment.isoformat() if moment else None


def _control_url(value: object) -> str | None:
    """A URL that we may post to: https, or http to this very machine (the sandbox's)."""
    text = _text(value, MAX_CONTROL_URL_CHARS)
    # Parsers disagree about where the host ends when these occur.
    if text is None or not re.fullmatch(r"[!-~]+", text) or "\\" in text or "@" in text:
        return None
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return None
    if not host or not (
        url.scheme == "https" or (url.scheme == "http" and host in _LOOPBACK_HOSTS)
    ):
        return None
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _allowed(value: object, rules: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `value` that `rules` name, each cleaned by its rule; without those missing."""
    picked = {}
    for name, rule in rules.items():
        found = _at(value, name)
        cleaned = _allowed(found, rule) if isinstance(rule, Mapping) else rule(found)
        if cleaned:
            picked[name] = cleaned
    return picked


# Exactly what may reach the disk, and the rule that makes a value fit to be stored.
_ALLOWED: Mapping[str, Any] = {
    "message": {
        "type": _text,
        "timestamp": _moment_text,
        "status": _text,
        "endedReason": _reason,
        "startedAt": _moment_text,
        "endedAt": _moment_text,
        "durationSeconds": _number_text,
        "durationMs": _number_text,
        "durationMinutes": _number_text,
        "cost": _cost_text,
        "costBreakdown": {"total": _cost_text},
        "call": {
            "id": _text,
            "type": _text,
            "assistantId": _text,
            "phoneNumberId": _text,
            "phoneNumber": {"id": _text, "number": _text},
        },
        "phoneNumber": {"id": _text, "number": _text},
        "assistant": {"id": _text},
    }
}
