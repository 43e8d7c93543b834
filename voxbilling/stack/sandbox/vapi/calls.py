"""Live calls at Vapi: they talk by the wall clock, and keep talking until they are ended.

An inbound call asks voxbilling for its assistant and obeys the answer. Every call tells its changes
of status and its end-of-call-report, as its script lets them arrive.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx

from voxbilling import vapi_payloads as payloads
from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.vapi.script import Script
from voxbilling.stack.sandbox.vapi.webhook import Webhook
from voxbilling.vapi_payloads import Message

# Vapi's default, and the bounds of what an assistant may name.
_DEFAULT_DURATION_SECONDS = 600
MIN_DURATION_SECONDS, MAX_DURATION_SECONDS = 10, 43_200
_MOST_CALLS = 20_000
_CHARACTERS_SPOKEN_A_SECOND = 15
_ALL_MESSAGES = frozenset({"status-update", "end-of-call-report"})


@dataclass(kw_only=True)
class Call:
    """A call as Vapi knows it, and what was heard of it outside. `number` counts calls from 1.

    What it was created with is what its messages go on saying; the assistant that answered and
    its limits come later.
    """

    number: int
    call_type: str
    assistant_id: str | None
    phone_number_id: str | None
    phone_number: str | None
    id: str
    control_url: str
    script: Script
    created_at: datetime
    updated_at: datetime
    max_duration_seconds: int = _DEFAULT_DURATION_SECONDS
    answering_assistant_id: str | None = None
    squad_id: str | None = None
    server_messages: frozenset[str] = _ALL_MESSAGES
    status: str = "queued"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None
    end_accepted_at: datetime | None = None
    control_requests: int = 0
    lookups: int = 0
    # What became of each message: when, and the answer's status, what failed, or that it was lost.
    sent: list[dict[str, Any]] = field(default_factory=list)
    pending: int = 0
    told_to_end: asyncio.Event = field(default_factory=asyncio.Event)
    line: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    @property
    def seconds(self) -> int:
        """How long it lasted, rounded half up and at least 1; 0 if it never connected."""
        if self.started_at is None or self.ended_at is None or self.ended_at == self.started_at:
            return 0
        milliseconds = (self.ended_at - self.started_at) // timedelta(milliseconds=1)
        return max((milliseconds + 500) // 1000, 1)


class TooManyCalls(Exception):
    """As many calls are live as this sandbox can keep."""


class Calls:
    """The calls of this sandbox, the oldest of those that are over forgotten after 20,000."""

    def __init__(self, webhook: Webhook, *, base_url: str, clock: Clock) -> None:
        self.clock = clock
        self._webhook = webhook
        self._base_url = base_url
        self._calls: dict[str, Call] = {}
        self._started = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unanswered_messages(self) -> int:
        """How many messages voxbilling was sent, or is about to be, and has not answered."""
        return self._webhook.unanswered

    def find(self, call_id: str) -> Call | None:
        return self._calls.get(call_id)

    def newest_first(self) -> Iterator[Call]:
        return reversed(self._calls.values())

    def oldest_first(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def start(
        self,
        *,
        call_type: str,
        script: Script,
        assistant_id: str | None = None,
        phone_number_id: str | None = None,
        phone_number: str | None = None,
        max_duration_seconds: int | None = None,
    ) -> Call:
        """Begin a call. Raises TooManyCalls."""
        self._make_room()
        self._started += 1
        call_id, now = str(uuid.uuid4()), self.clock.now()
        call = Call(
            number=self._started,
            call_type=call_type,
            assistant_id=assistant_id,
            answering_assistant_id=assistant_id,
            phone_number_id=phone_number_id,
            phone_number=phone_number,
            max_duration_seconds=max_duration_seconds or _DEFAULT_DURATION_SECONDS,
            id=call_id,
            control_url=f"{self._base_url}/vapi/call/{call_id}/control",
            script=script,
            created_at=now,
            updated_at=now,
        )
        self._calls[call_id] = call
        self._spawn(call, self._live(call))
        return call

    async def control(self, call: Call, message: Message) -> HTTPStatus:
        """Do what a control message says: what its URL answers."""
        call.control_requests += 1
        fails = call.control_requests <= call.script.control_failures
        await self.clock.sleep(call.script.control_seconds)
        if fails:
            return HTTPStatus.INTERNAL_SERVER_ERROR
        if call.is_over:
            return HTTPStatus.NOT_FOUND
        if message["type"] == "end-call":
            self._accept_end(call)
            call.told_to_end.set()
        elif message.get("endCallAfterSpoken") is True:
            self._accept_end(call)
            self._spawn(call, self._end_after_speaking(call, message["content"]))
        return HTTPStatus.OK

    def _accept_end(self, call: Call) -> None:
        if call.end_accepted_at is None:
            call.end_accepted_at = self.clock.now()

    async def _end_after_speaking(self, call: Call, content: str) -> None:
        await self.clock.wait_for(call.told_to_end, len(content) / _CHARACTERS_SPOKEN_A_SECOND)
        call.told_to_end.set()

    async def _live(self, call: Call) -> None:
        """A call from its creation to its last message."""
        script = call.script
        if call.call_type == "inboundPhoneCall":
            refusal = await self._ask_for_assistant(call)
            if refusal is not None:
                await self._end(call, refusal, tell_which=False)
                return
        else:
            self._change(call, "queued")
        if call.call_type == "outboundPhoneCall":
            self._change(call, "ringing")
        if await self.clock.wait_for(call.told_to_end, script.rings_seconds):
            await self._end(call, "assistant-ended-call")
            return
        if script.lasts_seconds == 0:
            await self._end(call, script.ended_reason or "customer-did-not-answer")
            return
        call.started_at = self.clock.now()
        self._change(call, "in-progress")
        seconds = min(script.lasts_seconds, call.max_duration_seconds)
        if await self.clock.wait_for(call.told_to_end, seconds):
            await self._end(call, "assistant-ended-call")
        elif script.lasts_seconds > call.max_duration_seconds:
            await self._end(call, "exceeded-max-duration")
        else:
            await self._end(call, script.ended_reason or "customer-ended-call")

    async def _ask_for_assistant(self, call: Call) -> str | None:
        """Ask voxbilling who answers an inbound call; the reason why it ends if nobody does."""
        fate = call.script.messages.get("assistant-request")
        request = payloads.assistant_request(call, at=self.clock.now())
        if fate == "lost":
            self._note(call, "assistant-request", "lost")
            return "assistant-request-failed"
        if fate == "late":
            await self.clock.sleep(call.script.late_seconds)
        if fate == "doubled":
            self._spawn(call, self._post(call, "assistant-request", request))
        status, answer = await self._webhook.post(request)
        self._note(call, "assistant-request", status)
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            return "assistant-request-failed"
        if "error" in answer:
            return "assistant-request-returned-error"
        answerer = "squad" if "squadId" in answer else "assistant"
        if not isinstance(answer.get(f"{answerer}Id"), str):
            return "assistant-request-returned-no-assistant"
        overrides = answer.get(f"{answerer}Overrides", {})
        cap_seconds = overrides.get("maxDurationSeconds", _DEFAULT_DURATION_SECONDS)
        named = overrides.get("serverMessages", _ALL_MESSAGES)
        if not MIN_DURATION_SECONDS <= cap_seconds <= MAX_DURATION_SECONDS:
            return "assistant-request-returned-invalid-assistant"
        call.answering_assistant_id = answer.get("assistantId")
        call.squad_id = answer.get("squadId")
        call.max_duration_seconds = cap_seconds
        call.server_messages = frozenset(named)
        return None

    def _change(self, call: Call, status: str) -> None:
        """Change a call's status, and tell of it."""
        call.status, call.updated_at = status, self.clock.now()
        at = call.started_at or call.updated_at
        self._tell(call, status, lambda: payloads.status_update(call, status, at=at))

    async def _end(self, call: Call, reason: str, *, tell_which: bool = True) -> None:
        """End a call, and report it. Vapi's message of a refused call does not name the call."""
        ended_at = self.clock.now()
        call.status, call.ended_reason = "ended", reason
        call.ended_at = call.updated_at = ended_at

        def ended() -> Message:
            message = payloads.status_update(call, "ended", at=ended_at, ended_reason=reason)
            if not tell_which:
                del message["message"]["call"]
            return message

        def report() -> Message:
            return payloads.end_of_call_report(
                call, started_at=call.started_at, ended_at=ended_at, ended_reason=reason
            )

        self._tell(call, "ended", ended)
        await self.clock.sleep(call.script.report_after_seconds)
        self._tell(call, "report", report)

    def _tell(self, call: Call, name: str, message: Callable[[], Message]) -> None:
        """Send a message, if the assistant's server wants it, as the script lets it arrive."""
        kind = "end-of-call-report" if name == "report" else "status-update"
        if kind not in call.server_messages:
            return
        fate = call.script.messages.get(name)
        if fate == "lost":
            self._note(call, name, "lost")
            return
        delay_seconds = call.script.late_seconds if fate == "late" else 0.0
        for _ in range(2 if fate == "doubled" else 1):
            # Made anew for each: what Vapi repeats is not the same to the byte.
            self._spawn(call, self._post(call, name, message(), delay_seconds))

    async def _post(
        self, call: Call, name: str, message: Message, delay_seconds: float = 0
    ) -> None:
        await self.clock.sleep(delay_seconds)
        # One after the other, so that only the script changes their order.
        async with call.line:
            status, _ = await self._webhook.post(message)
            self._note(call, name, status)
        for seconds in call.script.backoff.delays():
            if isinstance(status, int) and httpx.codes.is_success(status):
                return
            await self.clock.sleep(seconds)
            status, _ = await self._webhook.post(message)
            self._note(call, name, status)

    def _note(self, call: Call, name: str, outcome: int | str) -> None:
        call.sent.append(
            {"message": name, "at": payloads.iso(self.clock.now()), "outcome": outcome}
        )

    def _spawn(self, call: Call, work: Coroutine[Any, Any, None]) -> None:
        """Do a part of a call's life beside the others; `pending` counts those not done."""

        def done(task: asyncio.Task[None]) -> None:
            call.pending -= 1
            self._tasks.discard(task)

        call.pending += 1
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    def _make_room(self) -> None:
        if len(self._calls) < _MOST_CALLS:
            return
        over = next((call.id for call in self._calls.values() if call.is_over), None)
        if over is None:
            raise TooManyCalls
        del self._calls[over]
