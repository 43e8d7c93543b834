"""Calls as they go at Vapi, each played to its end, with the pence that it ought to cost.

A simulated call lasts minutes by its messages and milliseconds by the clock.
"""

import asyncio
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from voxbilling import vapi_payloads as payloads
from voxbilling.operations.simulation.vapi import SimulatedVapi
from voxbilling.vapi_payloads import Message, SimulatedCall


class Kind(StrEnum):
    INBOUND = "inbound, normal end"
    OUTBOUND = "outbound, normal end"
    WEB = "web, normal end"
    BUSY = "never connected"
    UNANNOUNCED = "report for an unknown call"
    REFUSED = "inbound, no money"
    REFUSED_LATE = "outbound, no money"
    RUNS_DRY = "wallet runs dry mid-call"


class Disorder(StrEnum):
    """What goes wrong on the way from Vapi."""

    NONE = "in order"
    DOUBLED = "every message doubled"
    REORDERED = "report comes first"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A call to be played, for an organization as `demo.json` describes it."""

    kind: Kind
    organization: dict[str, Any]
    duration_seconds: int
    disorder: Disorder = Disorder.NONE


@dataclass(frozen=True, kw_only=True)
class Played:
    """How a call went. `problem` is a sentence if it did not go as it should."""

    plan: Plan
    call_id: str
    expected_pence: int
    refused: bool = False
    cut: bool = False
    problem: str = ""


def fair_price_pence(
    duration_seconds: int, *, rate_pence_per_minute: int = 49, increment_seconds: int = 60
) -> int:
    """Worked out here once more, so that the engine is not its own judge."""
    billed_seconds = math.ceil(duration_seconds / increment_seconds) * increment_seconds
    return math.ceil(Fraction(billed_seconds * rate_pence_per_minute, 60))


async def play(vapi: SimulatedVapi, plan: Plan) -> Played:
    """Play a call to its end. Raises httpx.HTTPError if voxbilling fails to answer."""
    call = _call(vapi, plan)
    match plan.kind:
        case Kind.REFUSED:
            return await _play_refused(vapi, plan, call)
        case Kind.REFUSED_LATE:
            return await _play_refused_late(vapi, plan, call)
        case Kind.RUNS_DRY:
            return await _play_dry(vapi, plan, call)
        case Kind.UNANNOUNCED:
            await _finish(vapi, plan, call, _report(call, plan.duration_seconds))
        case Kind.BUSY:
            now = datetime.now(UTC)
            await vapi.send(payloads.status_update(call, "queued", at=now))
            report = payloads.end_of_call_report(
                call, started_at=now, ended_at=now, ended_reason="customer-busy"
            )
            await _finish(vapi, plan, call, report)
        case _:
            return await _play_normal(vapi, plan, call)
    return Played(
        plan=plan, call_id=call.id, expected_pence=fair_price_pence(plan.duration_seconds)
    )


async def _play_normal(vapi: SimulatedVapi, plan: Plan, call: SimulatedCall) -> Played:
    copies = 2 if plan.disorder is Disorder.DOUBLED else 1
    now = datetime.now(UTC)
    problem = ""
    if plan.kind is Kind.INBOUND:
        answer = await vapi.send(payloads.assistant_request(call, at=now), copies=copies)
        if answer.get("assistantId") != plan.organization["vapi_assistant_id"]:
            problem = f"should have been authorized, and was answered {answer}"
    else:
        await vapi.send(payloads.status_update(call, "queued", at=now), copies=copies)
    live = payloads.status_update(call, "in-progress", at=now)
    await _finish(vapi, plan, call, live, _report(call, plan.duration_seconds))
    return Played(
        plan=plan,
        call_id=call.id,
        expected_pence=fair_price_pence(plan.duration_seconds),
        problem=problem,
    )


async def _play_refused(vapi: SimulatedVapi, plan: Plan, call: SimulatedCall) -> Played:
    now = datetime.now(UTC)
    answer = await vapi.send(payloads.assistant_request(call, at=now))
    report = payloads.end_of_call_report(
        call, started_at=now, ended_at=now, ended_reason="assistant-request-returned-error"
    )
    await _finish(vapi, plan, call, report)
    refused = "error" in answer
    problem = "" if refused else f"should have been refused, and was answered {answer}"
    return Played(plan=plan, call_id=call.id, expected_pence=0, refused=refused, problem=problem)


async def _play_refused_late(vapi: SimulatedVapi, plan: Plan, call: SimulatedCall) -> Played:
    now = datetime.now(UTC)
    await vapi.send(payloads.status_update(call, "queued", at=now))
    refused = await vapi.was_told_to_end(call.id)
    report = payloads.end_of_call_report(
        call, started_at=now, ended_at=now, ended_reason="assistant-ended-call"
    )
    await _finish(vapi, plan, call, report)
    problem = "" if refused else "should have been ended at once, and was not"
    return Played(plan=plan, call_id=call.id, expected_pence=0, refused=refused, problem=problem)


async def _play_dry(vapi: SimulatedVapi, plan: Plan, call: SimulatedCall) -> Played:
    """Talk on until we are told to stop; `duration_seconds` is how long the money should last."""
    now = datetime.now(UTC)
    await vapi.send(payloads.assistant_request(call, at=now))
    await vapi.send(payloads.status_update(call, "in-progress", at=now))
    lasted_seconds = 0
    told_to_end = False
    while not told_to_end and lasted_seconds < 2 * plan.duration_seconds:
        lasted_seconds += 1
        if lasted_seconds % 60 == 0 or lasted_seconds >= plan.duration_seconds - 5:
            verdict = await vapi.ask_status(
                payloads.status_check(call, elapsed_seconds=lasted_seconds)
            )
            told_to_end = verdict["endCall"]
    cut = told_to_end and await vapi.was_told_to_end(call.id)
    await _finish(vapi, plan, call, _report(call, lasted_seconds))
    problem = ""
    if not cut or lasted_seconds != plan.duration_seconds:
        problem = (
            f"should have been cut after {plan.duration_seconds} s, and "
            f"{'was after' if cut else 'was not by'} {lasted_seconds} s"
        )
    return Played(
        plan=plan,
        call_id=call.id,
        expected_pence=fair_price_pence(plan.duration_seconds),
        cut=cut,
        problem=problem,
    )


async def _finish(vapi: SimulatedVapi, plan: Plan, call: SimulatedCall, *messages: Message) -> None:
    """Send what is left of a call's messages, in the order and the number that the plan says."""
    ended = payloads.status_update(
        call, "ended", at=datetime.now(UTC), ended_reason="customer-ended-call"
    )
    left = [*messages[:-1], ended, messages[-1]]
    if plan.kind is Kind.UNANNOUNCED:
        left.remove(ended)
    if plan.disorder is Disorder.REORDERED:
        left.reverse()
    for message in left:
        await vapi.send(message, copies=2 if plan.disorder is Disorder.DOUBLED else 1)
        await asyncio.sleep(0)


def _report(call: SimulatedCall, duration_seconds: int) -> Message:
    ended_at = datetime.now(UTC)
    return payloads.end_of_call_report(
        call,
        started_at=ended_at - timedelta(seconds=duration_seconds),
        ended_at=ended_at,
        ended_reason="customer-ended-call",
    )


def _call(vapi: SimulatedVapi, plan: Plan) -> SimulatedCall:
    is_web = plan.kind is Kind.WEB
    is_inbound = plan.kind in {Kind.INBOUND, Kind.REFUSED, Kind.RUNS_DRY, Kind.UNANNOUNCED}
    organization = plan.organization
    return SimulatedCall(
        call_type=(
            "webCall" if is_web else "inboundPhoneCall" if is_inbound else "outboundPhoneCall"
        ),
        assistant_id=None if is_inbound else organization["vapi_assistant_id"],
        phone_number_id=None if is_web else organization["vapi_phone_number_id"],
        phone_number=None if is_web else organization["phone_number"],
        control_base_url=vapi.sandbox_url,
    )
