"""Messages as Vapi sends them, with what billing has to see past."""

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

Message = dict[str, Any]

# The caller of every simulated call, from the range that the regulator keeps for fiction.
CUSTOMER = {"number": "+447700900123"}
_USD_PER_MINUTE = 0.11

# Two messages of one call may say the same in the same millisecond, and are two all the same.
_serial = itertools.count()


class CallAtVapi(Protocol):
    """What messages say of their call. Without `phone_number_id` it is a web call."""

    @property
    def id(self) -> str: ...
    @property
    def call_type(self) -> str: ...
    @property
    def assistant_id(self) -> str | None: ...
    @property
    def phone_number_id(self) -> str | None: ...
    @property
    def phone_number(self) -> str | None: ...
    @property
    def control_url(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class SimulatedCall:
    """A call that only its messages know."""

    call_type: str
    assistant_id: str | None
    phone_number_id: str | None
    phone_number: str | None
    control_base_url: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def control_url(self) -> str:
        return f"{self.control_base_url}/vapi/calls/{self.id}/control"


def assistant_request(call: CallAtVapi, *, at: datetime) -> Message:
    return _message(call, "assistant-request", at)


def status_update(
    call: CallAtVapi, status: str, *, at: datetime, ended_reason: str | None = None
) -> Message:
    details = {"status": status}
    if ended_reason is not None:
        details["endedReason"] = ended_reason
    return _message(call, "status-update", at, details)


def end_of_call_report(
    call: CallAtVapi, *, started_at: datetime | None, ended_at: datetime, ended_reason: str
) -> Message:
    """Without `started_at`, of a call that never connected."""
    details = {
        "endedReason": ended_reason,
        "endedAt": iso(ended_at),
        "cost": cost_usd(started_at, ended_at),
        "artifact": {"transcript": "AI: Hello.\nUser: Goodbye.", "messages": []},
        "analysis": {"summary": "A simulated call."},
    }
    if started_at is not None:
        details["startedAt"] = iso(started_at)
    return _message(call, "end-of-call-report", ended_at, details)


def cost_usd(started_at: datetime | None, ended_at: datetime) -> float:
    """What Vapi charges the operator for a call."""
    if started_at is None:
        return 0
    return round(_USD_PER_MINUTE * (ended_at - started_at).total_seconds() / 60, 4)


def status_check(call: CallAtVapi, *, elapsed_seconds: int) -> Message:
    return {"message": {"call": {"id": call.id}, "durationSeconds": elapsed_seconds}}


def _message(
    call: CallAtVapi, message_type: str, at: datetime, details: Message | None = None
) -> Message:
    message: Message = {
        "type": message_type,
        "timestamp": int(at.timestamp() * 1000),
        "serial": next(_serial),
        # As it was when the call was created, whatever has happened since: so sends it Vapi.
        "call": {
            "id": call.id,
            "type": call.call_type,
            "status": "queued",
            "assistantId": call.assistant_id,
            "phoneNumberId": call.phone_number_id,
            "monitor": {"controlUrl": call.control_url},
        },
        **(details or {}),
    }
    if call.phone_number_id is not None:
        message["phoneNumber"] = {"id": call.phone_number_id, "number": call.phone_number}
        message["customer"] = CUSTOMER
    return {"message": message}


def iso(moment: datetime) -> str:
    """A moment as Vapi writes it, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
