"""Status checks played at a running server, and what each should be answered.

Two organizations are kept for this: one with money for ten minutes, one with money for one. They
are the same at every run. The ledger refills them at its beginning, and charges each for a minute
at its end; so a run leaves a few entries, and nothing grows but those. One run at a time.
"""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from django.conf import settings

from telephony.models import Assistant
from voxbilling import vapi_payloads as payloads
from voxbilling.operations.simulation.organizations import refill
from voxbilling.operations.simulation.vapi import SimulatedVapi
from voxbilling.operations.verification.findings import Finding, failed, ok
from voxbilling.vapi_payloads import SimulatedCall
from wallets.models import Organization

_NAMESPACE = uuid.UUID("0d6cf1f4-3f0b-4a55-8f43-9b6a3f0f5f0e")
_FUNDED_MINUTES = 10
_UNKNOWN = {"balance_pence": None, "effective_balance_pence": None, "remaining_seconds": None}

Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wallets:
    """The Vapi ids of the assistants whose calls the two wallets pay for."""

    funded_assistant_id: str
    dry_assistant_id: str


def prepare_wallets() -> Wallets:
    """Make the two organizations, or refill them."""
    return Wallets(
        funded_assistant_id=_prepare("Kill switch test, funded", minutes=_FUNDED_MINUTES),
        dry_assistant_id=_prepare("Kill switch test, running dry", minutes=1),
    )


def _prepare(name: str, *, minutes: int) -> str:
    """Bring an organization to the price of these minutes; its assistant's Vapi id."""
    organization, _ = Organization.objects.update_or_create(
        pk=uuid.uuid5(_NAMESPACE, name),
        defaults={"name": name, "rate_pence_per_minute": 49, "billing_increment_seconds": 60},
    )
    refill(organization, minutes * 49)
    assistant, _ = Assistant.objects.get_or_create(
        vapi_assistant_id=str(uuid.uuid5(_NAMESPACE, f"assistant of {name}")),
        defaults={"organization": organization, "name": name},
    )
    return assistant.vapi_assistant_id


async def play_checks(vapi: SimulatedVapi, wallets: Wallets) -> AsyncIterator[Finding]:
    """Ask one thing after the other. Raises httpx.RequestError if the server cannot be reached."""
    funded, dry = _call(vapi, wallets.funded_assistant_id), _call(vapi, wallets.dry_assistant_id)
    stranger = _call(vapi, "an assistant of nobody's")
    last_second = 60 - settings.KILL_LEAD_SECONDS - 1

    async def begin_and_ask(call: SimulatedCall, elapsed_seconds: int) -> Answer:
        for status in ("queued", "in-progress"):
            await vapi.send(payloads.status_update(call, status, at=datetime.now(UTC)))
        return await ask(call, elapsed_seconds)

    async def ask(call: SimulatedCall, elapsed_seconds: int) -> Answer:
        return await vapi.ask_status(payloads.status_check(call, elapsed_seconds=elapsed_seconds))

    yield await _judged("health", vapi.ask_health(), _is_healthy)
    yield await _judged("no call id", vapi.ask_status({"message": {}}), _knows_nothing)
    yield await _judged("unknown call", ask(stranger, 30), _knows_nothing)
    yield await _judged("funded call", begin_and_ask(funded, 30), _goes_on_quietly)
    yield await _judged(
        f"call running dry, after {last_second} s of 60",
        begin_and_ask(dry, last_second),
        _goes_on_with_a_warning,
    )
    yield await _judged(
        f"call running dry, after {last_second + 1} s of 60", ask(dry, last_second + 1), _must_end
    )
    # Nothing stays held for calls that nobody makes.
    yield await _judged("end of the funded call", _end(vapi, funded), _is_taken)
    yield await _judged("end of the call that ran dry", _end(vapi, dry), _is_taken)


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


def _goes_on_quietly(answer: Answer) -> str:
    until_next_check = settings.STATUS_CHECK_SECONDS + settings.KILL_LEAD_SECONDS
    if answer["endCall"] or "message" in answer:
        return "The call is paid for, and should go on without a warning."
    if not until_next_check < answer["remaining_seconds"] <= 60 * _FUNDED_MINUTES - 30:
        return f"The hold should last until after the next check, {until_next_check} s from now."
    if answer["balance_pence"] < 49 * _FUNDED_MINUTES:
        return f"The balance was {49 * _FUNDED_MINUTES}p at least, and nothing was charged yet."
    return ""


def _goes_on_with_a_warning(answer: Answer) -> str:
    if answer["endCall"]:
        return "The money has not ended yet."
    remaining_seconds = settings.KILL_LEAD_SECONDS + 1
    if answer["remaining_seconds"] != remaining_seconds or not answer.get("message"):
        return f"It should warn that {remaining_seconds} s remain."
    return ""


def _must_end(answer: Answer) -> str:
    return "" if answer["endCall"] is True else "The money has ended, and so should the call."


def _is_taken(answer: Answer) -> str:
    return "" if answer == {} else "A report is answered with nothing."
