"""One call, told step by step, and judged against arithmetic of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from calls.models import Call
from telephony.models import VAPI_MIN_DURATION_SECONDS, Assistant, PhoneNumber
from voxbilling import vapi_payloads as payloads
from voxbilling.operations.simulation.calls import fair_price_pence
from voxbilling.operations.simulation.vapi import SimulatedVapi
from voxbilling.vapi_payloads import SimulatedCall
from wallets.models import CreditReservation, CreditTransaction, Organization

Say = Callable[[str], None]

_CHECK_EVERY_SECONDS = 60


class NobodyToCall(Exception):
    """The organization has nothing at Vapi that could take a call."""


@dataclass(kw_only=True)
class Story:
    """A call to be played, what the wallet could pay before it, and what went wrong."""

    organization: Organization
    call: SimulatedCall
    assistant: Assistant
    say: Say
    payable_seconds: int
    lasted_seconds: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_inbound(self) -> bool:
        return self.call.phone_number_id is not None

    def expected_pence(self) -> int:
        return fair_price_pence(
            self.lasted_seconds,
            rate_pence_per_minute=self.organization.rate_pence_per_minute,
            increment_seconds=self.organization.billing_increment_seconds,
        )

    def go_wrong(self, sentence: str) -> None:
        self.say(f"✗ {sentence}")
        self.problems.append(sentence)


def begin_story(organization: Organization, *, sandbox_url: str, say: Say) -> Story:
    """A call to the organization's number, or failing that a web call to its assistant.

    Raises NobodyToCall.
    """
    number = (
        PhoneNumber.objects.filter(
            organization=organization,
            status=PhoneNumber.Status.ACTIVE,
            vapi_phone_number_id__isnull=False,
            assistant__isnull=False,
        )
        .select_related("assistant")
        .order_by("created_at")
        .first()
    )
    assistant = (
        number.assistant
        if number is not None
        else Assistant.objects.filter(organization=organization).order_by("created_at").first()
    )
    if assistant is None:
        raise NobodyToCall(
            f"{organization.name} has neither a number with an assistant nor an assistant: add one "
            "in Django admin."
        )
    call = SimulatedCall(
        call_type="webCall" if number is None else "inboundPhoneCall",
        assistant_id=assistant.vapi_assistant_id if number is None else None,
        phone_number_id=None if number is None else number.vapi_phone_number_id,
        phone_number=None if number is None else number.number,
        control_base_url=sandbox_url,
    )
    return Story(
        organization=organization,
        call=call,
        assistant=assistant,
        say=say,
        payable_seconds=_payable_seconds(organization),
    )


def _payable_seconds(organization: Organization) -> int:
    if organization.is_suspended:
        return 0
    pence = organization.balance_pence - organization.reserved_pence + organization.debt_limit_pence
    increment_seconds = organization.billing_increment_seconds
    increments = pence * 60 // (organization.rate_pence_per_minute * increment_seconds)
    return max(increments, 0) * increment_seconds


async def play(
    vapi: SimulatedVapi, story: Story, *, wanted_seconds: int, lose_report: bool
) -> None:
    """Play the call to its end. Raises httpx.HTTPError if voxbilling fails to answer."""
    call, say = story.call, story.say
    ended_reason = "customer-ended-call"
    cap_seconds = await _authorize(vapi, story)
    if cap_seconds == 0:
        ended_reason = "assistant-request-returned-error"
    else:
        now = datetime.now(UTC)
        await vapi.send(payloads.status_update(call, "in-progress", at=now))
        say("In progress.")
        ended_reason = await _talk(vapi, story, min(wanted_seconds, cap_seconds))
        if ended_reason == "customer-ended-call" and cap_seconds < wanted_seconds:
            ended_reason = "exceeded-max-duration"
    say(f"Ended after {story.lasted_seconds} s: {ended_reason}.")
    ended_at = datetime.now(UTC)
    await vapi.send(payloads.status_update(call, "ended", at=ended_at, ended_reason=ended_reason))
    if lose_report:
        return
    await vapi.send(
        payloads.end_of_call_report(
            call,
            started_at=ended_at - timedelta(seconds=story.lasted_seconds),
            ended_at=ended_at,
            ended_reason=ended_reason,
        )
    )


async def _authorize(vapi: SimulatedVapi, story: Story) -> int:
    """Ask whether the call may begin; how many seconds Vapi lets it last, 0 if it may not."""
    call, assistant = story.call, story.assistant
    lead_seconds = settings.KILL_LEAD_SECONDS
    if not story.is_inbound:
        await vapi.send(payloads.status_update(call, "queued", at=datetime.now(UTC)))
        story.say("Announced: nobody asks whether a web call may begin.")
        return assistant.max_duration_seconds
    answer = await vapi.send(payloads.assistant_request(call, at=datetime.now(UTC)))
    can_pay = story.payable_seconds >= VAPI_MIN_DURATION_SECONDS + lead_seconds
    if "error" in answer:
        story.say(f"Refused; the caller hears: {answer['error']}")
        if can_pay:
            story.go_wrong(f"The wallet can pay for {story.payable_seconds} s.")
        return 0
    if answer.get("assistantId") != assistant.vapi_assistant_id:
        story.go_wrong(f"Neither authorized nor refused, but answered {answer}.")
        return 0
    cap_seconds: int = answer["assistantOverrides"]["maxDurationSeconds"]
    story.say(f"Authorized, for {cap_seconds} s at most.")
    expected_seconds = min(story.payable_seconds - lead_seconds, assistant.max_duration_seconds)
    if cap_seconds != expected_seconds:
        story.go_wrong(
            f"The wallet can pay for {story.payable_seconds} s, so the cap should be "
            f"{max(expected_seconds, 0)} s."
        )
    return cap_seconds


async def _talk(vapi: SimulatedVapi, story: Story, seconds: int) -> str:
    """Talk until these seconds are over or the kill switch ends the call; why it ended."""
    for elapsed_seconds in range(0, seconds, _CHECK_EVERY_SECONDS):
        verdict = await vapi.ask_status(
            payloads.status_check(story.call, elapsed_seconds=elapsed_seconds)
        )
        may_go_on = story.payable_seconds - elapsed_seconds > settings.KILL_LEAD_SECONDS
        story.say(f"After {elapsed_seconds} s: {_in_words(verdict)}")
        if verdict["endCall"] is may_go_on:
            story.go_wrong(
                f"The wallet can pay for {story.payable_seconds} s, so the call should "
                f"{'go on' if may_go_on else 'end'}."
            )
        story.lasted_seconds = elapsed_seconds
        if verdict["endCall"]:
            return "assistant-ended-call"
    story.lasted_seconds = seconds
    return "customer-ended-call"


def _in_words(verdict: dict[str, Any]) -> str:
    if verdict["endCall"]:
        return f"must end. {verdict.get('message', '')}"
    return f"goes on; the money held lasts {verdict['remaining_seconds']} s more."


def judge_settled(story: Story) -> None:
    """Tell what was charged, and whether that is right."""
    call = _recorded_call(story)
    if call is None:
        return
    expected_pence = story.expected_pence()
    if call.charged_pence is None:
        story.go_wrong(f"Not charged: it should have cost {expected_pence}p. {call.attention}")
        return
    owed_pence = call.uncollected_pence or 0
    owed = f", and {owed_pence}p are owed" if owed_pence else ""
    story.say(f"Charged {call.charged_pence}p{owed}.")
    if call.charged_pence + owed_pence != expected_pence:
        story.go_wrong(f"{story.lasted_seconds} s should have cost {expected_pence}p.")
    hold = CreditReservation.objects.filter(call_id=call.call_id).first()
    if hold is not None and hold.status == CreditReservation.Status.ACTIVE:
        story.go_wrong(f"{hold.reserved_pence}p are still held for a call that is over.")
    charge = CreditTransaction.objects.filter(reservation=hold).first() if hold else None
    if charge is not None:
        story.say(
            f"The balance was {charge.balance_before_pence}p before the charge and is "
            f"{charge.balance_after_pence}p after it."
        )


def judge_without_report(story: Story) -> None:
    """Tell what becomes of a call whose report never comes, and whether that is so."""
    call = _recorded_call(story)
    if call is None:
        return
    if call.settled_at is not None:
        story.go_wrong(f"Charged {call.charged_pence}p, though no report came.")
        return
    hold = CreditReservation.objects.filter(call_id=call.call_id).first()
    if hold is None:
        story.say("The report never comes. Nothing was held, and nothing is charged.")
        if story.lasted_seconds:
            story.go_wrong("A call that took place should have a hold.")
        return
    if hold.status != CreditReservation.Status.ACTIVE or hold.expires_at <= timezone.now():
        story.go_wrong(f"The hold should wait for the report, and is {hold.status}.")
        return
    story.say(
        f"The report never comes. Nothing is charged, and {hold.reserved_pence}p stay held until "
        f"{hold.expires_at:%d %B %Y %H:%M:%S} UTC. A report that comes by then is charged from the "
        "hold. After that the sweep gives it back, and a later report is charged from the balance. "
        f"A call of {story.lasted_seconds} s costs {story.expected_pence()}p: see “Calls that are "
        "not settled” in docs/operations.md."
    )


def _recorded_call(story: Story) -> Call | None:
    ids = Q(vapi_call_id=story.call.id) | Q(call_id=story.call.id)
    call = Call.objects.filter(ids, organization=story.organization).first()
    if call is None:
        story.go_wrong(
            "The call is not in the database: the server works on another one than these settings "
            "name, or could not process the messages (Django admin, webhook events)."
        )
    return call
