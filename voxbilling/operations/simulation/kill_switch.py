"""Status checks played at a running server, and what each should be answered.

Two organizations are kept for this: one with money for many minutes, one with hardly any. They
are the same at every run. The ledger refills them at its beginning, and charges each for a minute
at its end; so a run leaves a few entries, and nothing grows but those. One run at a time.

What is asked and expected follows from STATUS_CHECK_SECONDS and KILL_LEAD_SECONDS, which must be
those of the server.
"""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from django.conf import settings

from telephony.models import Assistant
from voxbilling import vapi_payloads as payloads
from voxbilling.operations.simulation.organizations import refill
from voxbilling.operations.simulation.vapi import SimulatedVapi
from voxbilling.operations.verification.findings import Finding, failed, ok, warning
from voxbilling.vapi_payloads import SimulatedCall
from wallets.models import Organization

_NAMESPACE = uuid.UUID("0d6cf1f4-3f0b-4a55-8f43-9b6a3f0f5f0e")
_RATE_PENCE_PER_MINUTE = 49
_UNKNOWN = {"balance_pence": None, "effective_balance_pence": None, "remaining_seconds": None}

Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What checks are asked and expected, in seconds of the call or pence.

    `until_next_check_seconds` include the lead: a call that has money for less is warned.
    """

    lead_seconds: int
    until_next_check_seconds: int
    funded_minutes: int
    dry_minutes: int

    @classmethod
    def by_settings(cls) -> "Expected":
        lead_seconds = settings.KILL_LEAD_SECONDS
        until_next_check_seconds = settings.STATUS_CHECK_SECONDS + lead_seconds
        return cls(
            lead_seconds=lead_seconds,
            until_next_check_seconds=until_next_check_seconds,
            funded_minutes=10 + until_next_check_seconds // 60,
            # So that half a minute at least goes by before it must end.
            dry_minutes=1 + (lead_seconds + 30) // 60,
        )

    @property
    def funded_pence(self) -> int:
        return _RATE_PENCE_PER_MINUTE * self.funded_minutes

    @property
    def funded_elapsed_seconds(self) -> int:
        """A moment when the hold, raised by whole minutes, lasts longer than what is asked for."""
        return (1 - self.until_next_check_seconds) % 60

    @property
    def last_second(self) -> int:
        """The last in which the call that runs dry may go on."""
        return 60 * self.dry_minutes - self.lead_seconds - 1


@dataclass(frozen=True, kw_only=True)
class Wallets:
    """The Vapi ids of the assistants whose calls the two wallets pay for."""

    funded_assistant_id: str
    dry_assistant_id: str


def prepare_wallets(expected: Expected) -> Wallets:
    """Make the two organizations, or refill them."""
    return Wallets(
        funded_assistant_id=_prepare("Kill switch test, funded", minutes=expected.funded_minutes),
        dry_assistant_id=_prepare("Kill switch test, running dry", minutes=expected.dry_minutes),
    )


def _prepare(name: str, *, minutes: int) -> str:
    """Bring an organization to the price of these minutes; its assistant's Vapi id."""
    organization, _ = Organization.objects.update_or_create(
        pk=uuid.uuid5(_NAMESPACE, name),
        defaults={
            "name": name,
            "rate_pence_per_minute": _RATE_PENCE_PER_MINUTE,
            "billing_increment_seconds": 60,
        },
    )
    refill(organization, minutes * _RATE_PENCE_PER_MINUTE)
    assistant, _ = Assistant.objects.get_or_create(
        vapi_assistant_id=str(uuid.uuid5(_NAMESPACE, f"assistant of {name}")),
        defaults={"organization": organization, "name": name},
    )
    return assistant.vapi_assistant_id


async def play_checks(
    vapi: SimulatedVapi, wallets: Wallets, expected: Expected
) -> AsyncIterator[Finding]:
    """Ask one thing after the other. Raises httpx.RequestError if the server cannot be reached."""
    funded, dry = _call(vapi, wallets.funded_assistant_id), _call(vapi, wallets.dry_assistant_id)
    stranger = _call(vapi, "an assistant of nobody's")
    last_second, dry_seconds = expected.last_second, 60 * expected.dry_minutes

    async def begin_and_ask(call: SimulatedCall, elapsed_seconds: int) -> Answer:
        for status in ("queued", "in-progress"):
            await vapi.send(payloads.status_update(call, status, at=datetime.now(UTC)))
        return await ask(call, elapsed_seconds)

    async def ask(call: SimulatedCall, elapsed_seconds: int) -> Answer:
        return await vapi.ask_status(payloads.status_check(call, elapsed_seconds=elapsed_seconds))

    yield await _judged("health", vapi.ask_health(), _is_healthy)
    yield await _judged("no call id", vapi.ask_status({"message": {}}), _knows_nothing)
    yield await _judged("unknown call", ask(stranger, 30), _knows_nothing)
    yield await _judged(
        "funded call",
        begin_and_ask(funded, expected.funded_elapsed_seconds),
        partial(_goes_on_quietly, expected),
    )
    yield await _judged(
        f"call running dry, after {last_second} s of {dry_seconds}",
        begin_and_ask(dry, last_second),
        partial(_goes_on_with_a_warning, expected),
    )
    yield await _judged(
        f"call running dry, after {last_second + 1} s of {dry_seconds}",
        ask(dry, last_second + 1),
        _must_end,
    )
    yield await _order_to_end(vapi, dry)
    # Nothing stays held for calls that nobody makes.
    yield await _judged("end of the funded call", _end(vapi, funded), _is_taken)
    yield await _judged("end of the call that ran dry", _end(vapi, dry), _is_taken)


async def _order_to_end(vapi: SimulatedVapi, call: SimulatedCall) -> Finding:
    """Whether the order that the last check led to reached the call's control URL."""
    subject = "order to end the call that ran dry"
    if not await vapi.has_sandbox():
        return warning(subject, "not looked at: without the sandbox its control URL leads nowhere")
    if await vapi.was_told_to_end(call.id):
        return ok(subject, "reached the call's control URL")
    return failed(subject, "did not reach the call's control URL: look whether a worker runs")


def _call(vapi: SimulatedVapi, assistant_id: str) -> SimulatedCall:
    return SimulatedCall(
        call_type="webCall",
        assistant_id=assistant_id,
        phone_number_id=None,
        phone_number=None,
        control_base_url=vapi.sandbox_url,
    )


async def _end(vapi: SimulatedVapi, call: SimulatedCall) -> Answer:
    now = datetime.now(UTC)
    return await vapi.send(
        payloads.end_of_call_report(
            call,
            started_at=now - timedelta(seconds=60),
            ended_at=now,
            ended_reason="assistant-ended-call",
        )
    )


async def _judged(name: str, asking: Awaitable[Answer], judge: Callable[[Answer], str]) -> Finding:
    """What was answered, and what `judge` has against it."""
    try:
        answer = await asking
        problem = judge(answer)
    except httpx.HTTPStatusError as error:
        refusal = error.response
        return failed(name, f"answered {refusal.status_code}: {refusal.text[:200]}")
    except (KeyError, TypeError, ValueError) as error:
        return failed(name, f"was not answered as voxbilling answers: {error!r}")
    answered = json.dumps(answer)
    return failed(name, f"{answered} {problem}") if problem else ok(name, answered)


def _is_healthy(answer: Answer) -> str:
    healthy = {"status": "healthy", "service": "vapi-webhook"}
    return "" if answer == healthy else f"It should be {healthy}."


def _knows_nothing(answer: Answer) -> str:
    if answer == {"endCall": False, **_UNKNOWN}:
        return ""
    return "Nothing is known of this call, so it should go on, with no figures."


def _goes_on_quietly(expected: Expected, answer: Answer) -> str:
    until_next_check_seconds = expected.until_next_check_seconds
    most_seconds = 60 * expected.funded_minutes - expected.funded_elapsed_seconds
    if answer["endCall"] or "message" in answer:
        return "The call is paid for, and should go on without a warning."
    if not until_next_check_seconds < answer["remaining_seconds"] <= most_seconds:
        return (
            f"The hold should last until after the next check, {until_next_check_seconds} s from "
            f"now, and the wallet pays for {most_seconds} s."
        )
    if answer["balance_pence"] < expected.funded_pence:
        return f"The balance was {expected.funded_pence}p at least, and nothing was charged yet."
    return ""


def _goes_on_with_a_warning(expected: Expected, answer: Answer) -> str:
    if answer["endCall"]:
        return "The money has not ended yet."
    remaining_seconds = expected.lead_seconds + 1
    if answer["remaining_seconds"] != remaining_seconds or not answer.get("message"):
        return f"It should warn that {remaining_seconds} s remain."
    return ""


def _must_end(answer: Answer) -> str:
    return "" if answer["endCall"] is True else "The money has ended, and so should the call."


def _is_taken(answer: Answer) -> str:
    return "" if answer == {} else "A report is answered with nothing."
