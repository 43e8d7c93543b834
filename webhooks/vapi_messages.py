"""Vapi's server messages: from untrusted bytes to what billing needs to know, and nothing more.

`pick` leaves what may be stored, `read` turns that into a message. A stored message and a fresh one
take the same way through `read`.

Field names and meanings are those of Vapi's server-message schema. The `call` inside a message is
a snapshot from the call's creation (seen in Vapi's own payloads): ids are read from it, dates and
status never are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from calls.references import CallReference
from telephony.models import VAPI_MAX_DURATION_SECONDS
from voxbilling.untrusted import (
    clean_control_url,
    clean_moment,
    clean_number,
    clean_reason,
    clean_text,
    cost_text,
    moment_text,
    number_text,
    value_at,
)
from wallets.pricing import whole_seconds

# Vapi's limit is not met to the second; twice as much is no call any more.
_MAX_REPORTED_SECONDS = 2 * VAPI_MAX_DURATION_SECONDS

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


@dataclass(frozen=True)
class Picked:
    """`storable` may be written to the database; `control_url` is a secret and kept apart."""

    storable: dict[str, Any]
    control_url: str | None = field(repr=False)


@dataclass(frozen=True)
class AssistantRequest:
    """Vapi asked at `sent_at` (UTC) which assistant takes an inbound call, and waits."""

    call: CallReference
    sent_at: datetime | None


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


def pick(document: object) -> Picked:
    """The fields that billing needs, cleaned, in Vapi's own places; everything else is left out.

    An allow-list: transcripts, prompts, recordings, credentials, metadata and the customer's
    number are dropped because nothing names them. Picking what was picked changes nothing.
    """
    return Picked(
        storable=_allowed(document, _ALLOWED),
        control_url=clean_control_url(
            value_at(document, "message", "call", "monitor", "controlUrl")
        ),
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
    if kind == "assistant-request":
        return AssistantRequest(call, clean_moment(message.get("timestamp")))
    return _report(message, call)


def read_status_check(document: object) -> StatusCheck:
    """The call that a status check asks about, and for how long it says the call has lasted."""
    stated = value_at(document, "message", "durationSeconds")
    elapsed = None if isinstance(stated, str) else clean_number(stated)
    return StatusCheck(
        vapi_call_id=clean_text(value_at(document, "message", "call", "id"))
        or clean_text(value_at(document, "call", "id")),
        elapsed_seconds=whole_seconds(
            min(max(elapsed or Decimal(0), Decimal(0)), Decimal(VAPI_MAX_DURATION_SECONDS))
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
        occurred_at=clean_moment(message.get("timestamp")),
    )


def _report(message: Mapping[str, Any], call: CallReference) -> EndOfCallReport:
    cost = clean_number(message.get("cost"))
    if cost is None:
        cost = clean_number(value_at(message, "costBreakdown", "total"))
    return EndOfCallReport(
        call=call,
        ended_reason=message.get("endedReason"),
        started_at=clean_moment(message.get("startedAt")),
        ended_at=clean_moment(message.get("endedAt")),
        duration_seconds=_duration_seconds(message),
        cost_usd=cost,
    )


def _call_reference(message: Mapping[str, Any], control_url: str | None) -> CallReference | None:
    call_id = value_at(message, "call", "id")
    if call_id is None:
        return None
    return CallReference(
        vapi_call_id=call_id,
        call_type=value_at(message, "call", "type"),
        vapi_phone_number_id=value_at(message, "phoneNumber", "id")
        or value_at(message, "call", "phoneNumberId")
        or value_at(message, "call", "phoneNumber", "id"),
        phone_number=value_at(message, "phoneNumber", "number")
        or value_at(message, "call", "phoneNumber", "number"),
        vapi_squad_id=value_at(message, "call", "squadId"),
        vapi_assistant_id=value_at(message, "call", "assistantId")
        or value_at(message, "assistant", "id"),
        control_url=control_url,
    )


def _duration_seconds(message: Mapping[str, Any]) -> int | None:
    """The first usable of the durations that were seen beside the dates, though in no schema."""
    for name, seconds_per_unit in _SECONDS_PER_UNIT.items():
        number = clean_number(message.get(name))
        if number is None:
            continue
        seconds = number * seconds_per_unit
        if seconds <= _MAX_REPORTED_SECONDS:
            # A call that connected is at least one second long.
            return max(whole_seconds(seconds), int(seconds > 0))
    return None


_SECONDS_PER_UNIT = {
    "durationSeconds": Decimal(1),
    "durationMs": Decimal("0.001"),
    "durationMinutes": Decimal(60),
}


def _allowed(value: object, rules: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `value` that `rules` name, each cleaned by its rule; without those missing."""
    picked = {}
    for name, rule in rules.items():
        found = value_at(value, name)
        cleaned = _allowed(found, rule) if isinstance(rule, Mapping) else rule(found)
        if cleaned:
            picked[name] = cleaned
    return picked


# Exactly what may reach the disk, and the rule that makes a value fit to be stored.
_ALLOWED: Mapping[str, Any] = {
    "message": {
        "type": clean_text,
        "timestamp": moment_text,
        "status": clean_text,
        "endedReason": clean_reason,
        "startedAt": moment_text,
        "endedAt": moment_text,
        "durationSeconds": number_text,
        "durationMs": number_text,
        "durationMinutes": number_text,
        "cost": cost_text,
        "costBreakdown": {"total": cost_text},
        "call": {
            "id": clean_text,
            "type": clean_text,
            "assistantId": clean_text,
            "squadId": clean_text,
            "phoneNumberId": clean_text,
            "phoneNumber": {"id": clean_text, "number": clean_text},
        },
        "phoneNumber": {"id": clean_text, "number": clean_text},
        "assistant": {"id": clean_text},
    }
}
