"""Vapi's server messages for any call, in the shape that was seen on the wire (see payloads/).

What billing must not keep is there as well, marked with `private`, so that a test can look for it.
"""

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from telephony.models import Assistant, PhoneNumber


def encoded(document: Any) -> bytes:
    """The bytes of a request's body."""
    return json.dumps(document).encode()


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@dataclass(kw_only=True)
class VapiCall:
    """A call as Vapi sees it; each method is a message about it, ready to be encoded.

    `assistant` is one that the call was made with. An inbound call to a number of ours has none
    until the assistant-request is answered.
    """

    number: PhoneNumber | None = None
    assistant: Assistant | None = None
    type: str = "inboundPhoneCall"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    control_url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    private: str = "do-not-store"

    def assistant_request(self, at: datetime) -> dict[str, Any]:
        return self._message("assistant-request", timestamp=at.isoformat())

    def status(self, status: str, at: datetime, **fields: Any) -> dict[str, Any]:
        return self._message(
            "status-update",
            timestamp=milliseconds(at),
            status=status,
            artifact={"messages": [{"role": "user", "message": self.private}]},
            **fields,
        )

    def ended(self, at: datetime, reason: str = "customer-ended-call") -> dict[str, Any]:
        return self.status("ended", at, endedReason=reason)

    def report(
        self,
        started_at: datetime | str | None = None,
        ended_at: datetime | str | None = None,
        *,
        reason: str | None = "customer-ended-call",
        **fields: Any,
    ) -> dict[str, Any]:
        """An end-of-call-report; what is None is left out, what is in `fields` comes instead."""
        said: dict[str, Any] = {
            "startedAt": _written(started_at),
            "endedAt": _written(ended_at),
            "endedReason": reason,
            "transcript": f"AI: {self.private}",
            "summary": self.private,
            "recordingUrl": f"https://storage.invalid/{self.private}.wav",
            "messages": [{"role": "system", "message": self.private}],
            "artifact": {"transcript": self.private, "variables": {"customer": self.private}},
            "analysis": {"summary": self.private},
        }
        return self._message("end-of-call-report", **{**said, **fields})

    def other(self, kind: str, **fields: Any) -> dict[str, Any]:
        """A message of a type that billing has no use for."""
        return self._message(kind, transcript=self.private, **fields)

    def status_check(self, duration_seconds: Any = None) -> dict[str, Any]:
        message: dict[str, Any] = {"call": {"id": self.id}}
        if duration_seconds is not None:
            message["durationSeconds"] = duration_seconds
        return {"message": message}

    def _message(self, kind: str, **fields: Any) -> dict[str, Any]:
        message = {"type": kind, "call": self._snapshot(), **fields}
        if self.number is not None:
            message["phoneNumber"] = {
                "id": self.number.vapi_phone_number_id,
                "number": self.number.number,
                "provider": "twilio",
                "twilioAccountSid": f"AC-{self.private}",
                "twilioAuthToken": self.private,
                "serverUrlSecret": self.private,
            }
            message["customer"] = {"number": self.private}
        if self.assistant is not None:
            message["assistant"] = {
                "id": self.assistant.vapi_assistant_id,
                "model": {"messages": [{"role": "system", "content": self.private}]},
                "firstMessage": self.private,
            }
        return {"message": {name: value for name, value in message.items() if value is not None}}

    def _snapshot(self) -> dict[str, Any]:
        """The `call` in every message: as it was when it was created, whatever came since."""
        snapshot: dict[str, Any] = {
            "id": self.id,
            "orgId": "0c0ffee0-0000-4000-8000-0000000000aa",
            "createdAt": "2020-01-01T00:00:00.000Z",
            "updatedAt": "2020-01-01T00:00:00.000Z",
            "type": self.type,
            "status": "queued",
            "assistantId": self.assistant.vapi_assistant_id if self.assistant else None,
            "squadId": None,
            "metadata": self.metadata,
            "assistantOverrides": {"metadata": self.metadata},
            "monitor": {"listenUrl": f"wss://monitor.invalid/{self.private}/listen"},
        }
        if self.number is not None:
            snapshot["phoneNumberId"] = self.number.vapi_phone_number_id
            snapshot["customer"] = {"number": self.private}
        if self.control_url is not None:
            snapshot["monitor"]["controlUrl"] = self.control_url
        return snapshot


def _written(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment
