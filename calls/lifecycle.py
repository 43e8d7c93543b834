"""The life of a call: authorize, progress, settle.

Each function takes the facts of one message, in whatever order messages come and however often,
and runs inside the transaction of the caller. A business refusal is an outcome, not an exception.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone

from calls import asking, ends, kill_switch, review
from calls.charging import charge
from calls.ended_reasons import waiver_for
from calls.identity import LockedCall, lock_call
from calls.models import Call
from calls.outcomes import NOBODY_PAYS, Outcome
from calls.references import CallReference
from telephony.models import VAPI_MAX_DURATION_SECONDS, VAPI_MIN_DURATION_SECONDS
from voxbilling.counts import AUTHORIZATIONS
from wallets import ledger
from wallets.pricing import connected_seconds, usd_to_pence
from wallets.selectors import reservation_of_call

logger = structlog.get_logger(__name__)

# Vapi waits 7.5 s for an answer; after this nobody waits, and a hold would only lock money up.
REQUEST_MAX_AGE = timedelta(seconds=20)
WRONG_CLOCK = timedelta(hours=1)
# How much longer than its cap a call can be reported to have lasted and still be believed.
CAP_MARGIN_SECONDS = 120
CLOCK_SKEW = timedelta(minutes=5)
# How long Vapi takes to tell a caller that the call was refused.
REFUSAL_IS_SPOKEN = timedelta(seconds=20)
# What an assistant returned by a server reports is only what is named here.
SERVER_MESSAGES = ["status-update", "end-of-call-report"]
LIVE_STATUSES = frozenset({"queued", "ringing", "in-progress", "forwarding"})

NOT_SET_UP = "This number is not set up to take calls yet. Goodbye."
CANNOT_PAY = "This number cannot take calls at the moment. Please try again later."


# --- Authorize --------------------------------------------------------------------------------


def authorize(
    reference: CallReference, *, sent_at: datetime | None, received_at: datetime
) -> Outcome:
    """Answer an assistant-request: hold the money and name the assistant, or refuse.

    The cap that Vapi is told is what the wallet can pay for, less the lead, and never above the
    assistant's own. A repeated request gets the first answer. Raises IntegrityError for a race
    that a second try resolves.
    """
    locked = lock_call(reference)
    if locked is None:
        AUTHORIZATIONS.add("refused")
        return replace(NOBODY_PAYS, answer=_refusal(NOT_SET_UP))
    call = locked.call
    if call.authorization_answer is not None:
        return _outcome(call, "A repeated request: answered as before.", call.authorization_answer)
    if _is_too_old(sent_at, received_at):
        AUTHORIZATIONS.add("refused")
        return _outcome(call, "Not authorized: the request is too old.", _refusal(CANNOT_PAY))
    if call.is_over or call.end_ordered_at is not None:
        AUTHORIZATIONS.add("refused")
        return _outcome(call, "Not authorized: the call is over.", _refusal(CANNOT_PAY))

    assistant = call.phone_number.assistant if call.phone_number else None
    if assistant is None:
        AUTHORIZATIONS.add("refused")
        call.add_attention("The number has no assistant, so its calls are refused.")
        return _refuse(locked, "The number has no assistant.", NOT_SET_UP)
    call.assistant = assistant
    payable_seconds = _payable_seconds(locked)
    if refused_because := _hold(locked, payable_seconds, lowest_seconds=VAPI_MIN_DURATION_SECONDS):
        return _refuse(locked, refused_because, CANNOT_PAY)
    seconds = min(
        payable_seconds - settings.KILL_LEAD_SECONDS,
        assistant.max_duration_seconds,
        VAPI_MAX_DURATION_SECONDS,
    )
    call.max_duration_seconds = seconds
    call.authorization = Call.Authorization.AUTHORIZED
    answerer = "squad" if assistant.is_squad else "assistant"
    call.authorization_answer = {
        f"{answerer}Id": assistant.vapi_assistant_id,
        f"{answerer}Overrides": {
            "maxDurationSeconds": seconds,
            "serverMessages": SERVER_MESSAGES,
        },
    }
    call.save()
    return _outcome(call, f"Authorized for {seconds} s.", call.authorization_answer)


def _hold(locked: LockedCall, payable_seconds: int, *, lowest_seconds: int) -> str:
    """Hold the money of a call; returns why it cannot be held, or nothing."""
    refused_because = _try_to_hold(locked, payable_seconds, lowest_seconds)
    AUTHORIZATIONS.add("refused" if refused_because else "authorized")
    return refused_because


def _try_to_hold(locked: LockedCall, payable_seconds: int, lowest_seconds: int) -> str:
    # Decided before anything is held, so that a refused call leaves no hold behind.
    if locked.organization.is_suspended:
        return "The organization is suspended."
    if payable_seconds < lowest_seconds + settings.KILL_LEAD_SECONDS:
        return f"The wallet can pay for {payable_seconds} s only."
    hold = ledger.reserve_call_credits(
        organization_id=locked.organization.pk,
        call_id=locked.call.call_id,
        vapi_call_id=locked.call.vapi_call_id,
        estimated_minutes=settings.RESERVATION_MINUTES,
    )
    if hold.active and hold.duplicate:
        # A customer's program may have asked for less than a call begins with.
        ledger.extend_reservation(
            call_id=locked.call.call_id, cover_seconds=settings.RESERVATION_MINUTES * 60
        )
    return "" if hold.active else "The hold of this call has been closed before."


def _is_too_old(sent_at: datetime | None, received_at: datetime) -> bool:
    """Whether Vapi has given up on a request, by our clock or by when Vapi says that it asked."""
    now = timezone.now()
    # A request waits before it reaches us, too. What claims to be hours old has a wrong clock.
    is_stale = sent_at is not None and REQUEST_MAX_AGE < now - sent_at < WRONG_CLOCK
    return is_stale or now - received_at > REQUEST_MAX_AGE


def _payable_seconds(locked: LockedCall) -> int:
    """Seconds that this call can last in all: its own hold and what else calls can spend."""
    reservation = reservation_of_call(locked.call.call_id, locked.organization.pk)
    held_pence = reservation.reserved_pence if reservation and reservation.is_active else 0
    tariff = reservation.tariff if reservation else locked.organization.tariff
    return tariff.affordable_seconds(held_pence + locked.organization.spendable_on_calls_pence)


def _refuse(locked: LockedCall, because: str, spoken: str) -> Outcome:
    call = locked.call
    if reservation_of_call(call.call_id, locked.organization.pk) is not None:
        # A status-update that overtook the request had the money held.
        ledger.release_reservation(call_id=call.call_id)
    call.authorization = Call.Authorization.REFUSED
    call.authorization_answer = _refusal(spoken)
    call.save()
    return _outcome(call, f"Refused: {because}", call.authorization_answer)


def _refusal(spoken: str) -> dict[str, Any]:
    return {"error": spoken}


# --- Progress ---------------------------------------------------------------------------------


def progress(
    reference: CallReference,
    *,
    status: str,
    ended_reason: str | None,
    occurred_at: datetime | None,
    received_at: datetime,
) -> Outcome:
    """Follow a call: authorize it late if nobody asked before, keep its hold alive, note its end.

    A call that cannot be paid for is ended at once. Raises IntegrityError for a race that a second
    try resolves.
    """
    locked = lock_call(reference)
    if locked is None:
        return NOBODY_PAYS
    call = locked.call
    if call.is_over:
        return _outcome(call, f"The call was over when it was said to be {status}.")
    call.vapi_status = status
    if status == "ended":
        mark_ended(call, ended_reason, _plausible(occurred_at, received_at))
        text = "Ended; its report is awaited."
    elif status in LIVE_STATUSES:
        if status == "in-progress" and call.started_at is None:
            # A clock that is ahead would give seconds that nobody pays.
            call.started_at = min(_plausible(occurred_at, received_at), received_at)
        text = _keep_alive(locked, received_at)
    else:
        text = f"Noted: {status}."
    asking.expect(call)
    call.save()
    return _outcome(call, text)


def _keep_alive(locked: LockedCall, received_at: datetime) -> str:
    call = locked.call
    if call.settled_at is not None:
        # A call is settled once, so nothing would pay for what comes now.
        call.add_attention("The customer's program settled this call while Vapi shows it alive.")
        ends.order_end(call, money_ended_at=None)
        return "Ended: the call is settled."
    text = f"Noted: {call.vapi_status}."
    if call.authorization == Call.Authorization.PENDING:
        if refused_because := _hold(locked, _payable_seconds(locked), lowest_seconds=0):
            call.authorization = Call.Authorization.REFUSED
            text = f"Refused, and ended: {refused_because}"
        else:
            call.authorization = Call.Authorization.AUTHORIZED
            text = "Authorized late: no assistant-request asked before."
    if call.authorization == Call.Authorization.AUTHORIZED:
        verdict = kill_switch.enforce(call, locked.organization)
        if verdict.end_call:
            text = f"Ended: {verdict.message}"
    elif call.authorization_answer is None:
        is_suspended = locked.organization.is_suspended
        ends.order_end(call, money_ended_at=None if is_suspended else received_at)
    elif call.vapi_status == "in-progress" and call.end_ordered_at is None:
        # It hears the answer that refused it, and then Vapi ends it, unless something is wrong.
        call.check_at = call.check_at or received_at + REFUSAL_IS_SPOKEN
        ends.sweep_at([call.check_at])
    return text


def mark_ended(call: Call, ended_reason: str | None, ended_at: datetime) -> None:
    """Note that a call is over; the caller holds its lock, and saves it."""
    call.end(ended_at)
    call.ended_reason = ended_reason or ""


def _plausible(occurred_at: datetime | None, received_at: datetime) -> datetime:
    """When a status changed: what the message says, unless that cannot be of a call so recent."""
    earliest = received_at - timedelta(seconds=VAPI_MAX_DURATION_SECONDS)
    if occurred_at is None or not earliest <= occurred_at <= received_at + CLOCK_SKEW:
        return received_at
    return occurred_at


# --- Settle -----------------------------------------------------------------------------------


def settle(
    reference: CallReference,
    *,
    ended_reason: str | None,
    started_at: datetime | None,
    ended_at: datetime | None,
    duration_seconds: int | None,
    cost_usd: Decimal | None,
    received_at: datetime,
) -> Outcome:
    """Charge a call from Vapi's report, once; a second report changes nothing.

    Where somebody else settled the call before, the report is the truth, and the difference is
    charged or given back.
    The duration is computed from the dates, and failing them taken from `duration_seconds`. A
    report that cannot be believed is held for review and not charged blindly; one that says no
    duration has Vapi asked. Raises IntegrityError for a race that a second try resolves.
    """
    locked = lock_call(reference)
    if locked is None:
        return NOBODY_PAYS
    call = locked.call
    lasted_seconds = _reported_seconds(started_at, ended_at, duration_seconds)
    if call.is_settled_for_good:
        return _second_report(call, lasted_seconds, cost_usd)
    ended_reason = ended_reason or call.ended_reason
    waiver = waiver_for(
        ended_reason,
        charges_voicemail=locked.organization.charges_voicemail,
        waive_vapi_faults=settings.WAIVE_VAPI_FAULTS,
    )
    charged_seconds = 0 if waiver else lasted_seconds
    doubt = _doubt(call, charged_seconds, started_at, ended_at, received_at)
    if charged_seconds == 0 and not waiver:
        doubt = _doubt_about_none(call, ended_at or call.ended_at or received_at)

    call.started_at = started_at or call.started_at
    mark_ended(call, ended_reason, ended_at or call.ended_at or received_at)
    call.vapi_status = "ended"
    _note_cost(call, cost_usd)
    call.duration_seconds = lasted_seconds
    call.review_reason = ""
    asking.expect(call)
    if doubt:
        review.hold(call, doubt)
        call.save()
        return _outcome(call, f"Held for review: {doubt}")
    if charged_seconds is None:
        call.reconcile_at = timezone.now()
        call.save()
        return _outcome(call, "Not settled, as it says no duration: Vapi is asked for its record.")
    charge(call, charged_seconds, Call.SettledFrom.VAPI)
    call.not_charged_because = waiver.label if waiver else ""
    call.save()
    owed = f", {call.uncollected_pence}p owed" if call.uncollected_pence else ""
    waived = f" ({call.not_charged_because})" if waiver else ""
    return _outcome(call, f"Settled: {charged_seconds} s, {call.charged_pence}p{owed}{waived}.")


def _reported_seconds(
    started_at: datetime | None, ended_at: datetime | None, duration_seconds: int | None
) -> int | None:
    """How long a report says that the call lasted; None if it says nothing that can be."""
    if started_at is None or ended_at is None:
        return duration_seconds
    if ended_at > started_at:
        return connected_seconds(started_at, ended_at)
    return 0 if ended_at == started_at else None


def _doubt(
    call: Call,
    charged_seconds: int | None,
    started_at: datetime | None,
    ended_at: datetime | None,
    received_at: datetime,
) -> str:
    """Why a report cannot be believed, as a sentence for staff; empty if there is no reason."""
    if charged_seconds is None:
        is_negative = started_at is not None and ended_at is not None
        return "The report says that the call ended before it started." if is_negative else ""
    if charged_seconds and ended_at is not None and ended_at > received_at + CLOCK_SKEW:
        return f"The report says that the call ended in the future, at {ended_at.isoformat()}."
    cap_seconds = call.max_duration_seconds or VAPI_MAX_DURATION_SECONDS
    if charged_seconds > cap_seconds + CAP_MARGIN_SECONDS:
        return (
            f"The report says that the call lasted {charged_seconds} s, but it was capped at "
            f"{cap_seconds} s."
        )
    return ""


def _doubt_about_none(call: Call, ended_at: datetime) -> str:
    """Why it cannot be that a call never connected; empty if it can."""
    if call.started_at is None or ended_at - call.started_at < timedelta(seconds=1):
        return ""
    return f"It never connected by the report, but was seen live at {call.started_at}."


def _second_report(call: Call, lasted_seconds: int | None, cost_usd: Decimal | None) -> Outcome:
    if lasted_seconds is not None and lasted_seconds != call.duration_seconds:
        call.add_attention(
            f"Settled at {call.duration_seconds} s; a later report says {lasted_seconds} s."
        )
    if call.vapi_cost_usd is None:
        _note_cost(call, cost_usd)
    call.save(update_fields=["attention", "vapi_cost_usd", "vapi_cost_pence"])
    return _outcome(call, "Settled before: no money was moved.")


def _note_cost(call: Call, cost_usd: Decimal | None) -> None:
    if cost_usd is not None:
        call.vapi_cost_usd = cost_usd
        call.vapi_cost_pence = usd_to_pence(cost_usd, settings.USD_TO_GBP_RATE)


def _outcome(call: Call, text: str, answer: dict[str, Any] | None = None) -> Outcome:
    logger.info(
        "call", call_id=call.call_id, organization_id=str(call.organization_id), outcome=text
    )
    return Outcome(text=text, organization_id=call.organization_id, answer=answer)
