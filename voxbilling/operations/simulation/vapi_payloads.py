"""Messages as Vapi sends them, with what billing has to see past."""

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Message = dict[str, Any]

# Two messages of one call may say the same in the same millisecond, and are two all the same.
_serial = itertools.count()


@dataclass(frozen=True, kw_only=True)
class SimulatedCall:
    """One call at Vapi. Without `phone_number_id` it is a web call, known by its assistant."""

    call_type: str
    assistant_id: str | None
    phone_number_id: str | None
    phone_number: str | None
    control_base_url: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def control_url(self) -> str:
        return f"{self.control_base_url}/vapi/calls/{self.id}/control"


def assistant_request(call: SimulatedCall, *, at: datetime) -> Message:
    return _message(call, "assistant-request", at)


def status_update(
    call: SimulatedCall, status: str, *, at: datetime, ended_reason: str | None = None
) -> Message:
    details = {"status": status}
    if ended_reason is not None:
        details["endedReason"] = ended_reason
    return _message(call, "status-update", at, details)


def end_of_call_report(
    call: SimulatedCall, *, started_at: datetime, ended_at: datetime, ended_reason: str
) -> Message:
    minutes = (ended_at - started_at).total_seconds() / 60
    return _message(
        call,
        "end-of-call-report",
        ended_at,
        {
            "endedReason": ended_reason,
            "startedAt": _iso(started_at),
            "endedAt": _iso(ended_at),
            "cost": round(0.11 * minutes, 4),
            "artifact": {"transcript": "AI: Hello.\nUser: Goodbye.", "messages": []},
            "analysis": {"summary": "A simulated call."},
        },
    )


def status_check(call: SimulatedCall, *, elapsed_seconds: int) -> Message:
    return {"message": {"call": {"id": call.id}, "durationSeconds": elapsed_seconds}}


def _message(
    call: SimulatedCall, message_type: str, at: datetime, details: Message | None = None
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
        message["customer"] = {"number": "+447700900123"}
    return {"message": message}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
