"""Vapi's API in memory: what it has on record of calls, and what it does instead of answering."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any

from django.utils import timezone

from telephony.vapi_calls import CallList, CallRecord, CallUnknown, VapiRequestFailed
from tests.webhooks.vapi_payloads import VapiCall

DOWN = VapiRequestFailed("Vapi's API answered 503.")


class VapiApi:
    """`fails_with` is raised instead of any answer."""

    def __init__(self) -> None:
        self.records: dict[str, CallRecord] = {}
        self.fails_with: VapiRequestFailed | None = None
        self.asked: list[str] = []
        self.listed: list[tuple[datetime, datetime]] = []
        self.longest_list = 1000
        self._one_at_a_time = Lock()

    def shows(self, call: VapiCall, status: str, **fields: Any) -> None:
        """Have this on record of a call, changed now."""
        number = call.number
        self.records[call.id] = CallRecord(
            **{
                "id": call.id,
                "type": call.type,
                "status": status,
                "started_at": None,
                "ended_at": None,
                "ended_reason": None,
                "cost_usd": None,
                "squad_id": None,
                "assistant_id": call.assistant.vapi_assistant_id if call.assistant else None,
                "phone_number_id": number.vapi_phone_number_id if number else None,
                "number": number.number if number else None,
                "control_url": call.control_url,
                "updated_at": timezone.now(),
                **fields,
            }
        )

    def shows_ended(
        self,
        call: VapiCall,
        started_at: datetime | None,
        ended_at: datetime | None,
        reason: str = "customer-ended-call",
        **fields: Any,
    ) -> None:
        self.shows(
            call,
            "ended",
            started_at=started_at,
            ended_at=ended_at,
            ended_reason=reason,
            **{"cost_usd": Decimal("0.11"), **fields},
        )

    def get_call(self, vapi_call_id: str) -> CallRecord:
        with self._one_at_a_time:
            self.asked.append(vapi_call_id)
        if self.fails_with is not None:
            raise self.fails_with
        if vapi_call_id not in self.records:
            raise CallUnknown("Vapi knows no call by this id.")
        return self.records[vapi_call_id]

    def list_calls(self, *, updated_from: datetime, updated_to: datetime) -> CallList:
        """As Vapi does: those that were created last, and here that is those added last."""
        with self._one_at_a_time:
            self.listed.append((updated_from, updated_to))
        if self.fails_with is not None:
            raise self.fails_with
        found = [
            record
            for record in self.records.values()
            if record.updated_at is not None and updated_from <= record.updated_at < updated_to
        ]
        return CallList(
            records=found[::-1][: self.longest_list], is_whole=len(found) < self.longest_list
        )

    def touch(self, call: VapiCall, at: datetime) -> None:
        """Say that the record was changed then."""
        self.records[call.id] = replace(self.records[call.id], updated_at=at)
