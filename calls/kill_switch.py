"""Ending a call whose money is gone: the decision.

The decision compares seconds, never pence: a hold of 49p pays for 60 seconds, not for one. A
call's own hold is the money for that call, not a reason to end it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls import ends
from calls.identity import find_call, log_call
from calls.models import Call
from telephony.models import VAPI_MAX_DURATION_SECONDS
from wallets import ledger
from wallets.locks import lock_organization
from wallets.models import CreditReservation, Organization
from wallets.selectors import reservation_of_call

# How long after its last possible second a call's report may still be on its way.
REPORT_GRACE = timedelta(minutes=5)
# How long Vapi has to insist that it knows no such call: its records may lag.
UNKNOWN_FOR = timedelta(minutes=10)
# How often a call without a hold of its own is looked at: others spend from the same wallet.
WITHOUT_HOLD = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class StatusCheck:
    """Whether a call must end. Figures that are not known are None; all are pence or seconds."""

    end_call: bool
    message: str | None = None
    balance_pence: int | None = None
    effective_balance_pence: int | None = None
    remaining_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done about a live call.

    `money_ends_at` is None if the money is not why it ends. `check_at` is when to decide again.
    """

    must_end: bool
    message: str | None
    remaining_seconds: int
    money_ends_at: datetime | None = None
    check_at: datetime | None = None
    must_warn: bool = False


@transaction.atomic
def check_status(
    *,
    vapi_call_id: str | None,
    reported_elapsed_seconds: int = 0,
    organization_id: UUID | None = None,
) -> StatusCheck:
    """Decide whether a call goes on, raising its hold first when it is nearly used up.

    `organization_id` counts only for a call that is not known. A call that must end is also ended
    through its control URL, after commit.

    Raises OrganizationNotFound if the call is unknown and nobody has that id.
    """
    call = find_call(vapi_call_id) if vapi_call_id else None
    if vapi_call_id is None or (call is None and organization_id is None):
        return StatusCheck(end_call=False)
    if call is None:
        organization = lock_organization(organization_id or "")
        remaining_seconds = _wallet_seconds(organization) - reported_elapsed_seconds
        end_call, message = _verdict(organization, remaining_seconds)
        return _report(
            organization,
            end_call=end_call,
            message=message,
            remaining_seconds=remaining_seconds,
        )

    organization = lock_organization(call.organization_id)
    call = Call.objects.select_for_update(no_key=True).get(pk=call.pk)
    log_call(call)
    return enforce(call, organization, reported_elapsed_seconds=reported_elapsed_seconds)


def enforce(
    call: Call, organization: Organization, *, reported_elapsed_seconds: int = 0
) -> StatusCheck:
    """Keep a live call's hold ahead of its cost, or have the call ended.

    A call that was ordered to end and still shows life is told so again. The caller holds the
    locks of the organization and the call; the organization's figures are stale afterwards.
    """
    reservation = reservation_of_call(call.call_id, organization.pk)
    if call.is_over:
        return _report(organization, end_call=True, message="This call is over.")
    if call.end_ordered_at is not None or (reservation is not None and reservation.is_settled):
        ends.order_end(call, money_ended_at=None)
        return _report(organization, end_call=True, message="This call is being ended.")
    now = timezone.now()
    began_at = _began_at(call, reported_elapsed_seconds, now)
    if reported_elapsed_seconds > 0 and call.started_at is None:
        # The message that said so was lost.
        call.started_at = began_at
    if reservation is not None and reservation.is_active:
        ledger.extend_reservations(extensions=[extension(call, now, began_at=began_at)])
        reservation.refresh_from_db()
        organization.refresh_from_db()
    decision = decide(call, organization, reservation, now, began_at=began_at)
    if decision.must_end:
        ends.order_end(call, money_ended_at=decision.money_ends_at)
        call.save(update_fields=["started_at"])
    else:
        call.check_at = decision.check_at
        call.save(update_fields=["check_at", "started_at", "attention"])
        ends.sweep_at([decision.check_at])
    return _report(
        organization,
        end_call=decision.must_end,
        message=decision.message,
        remaining_seconds=decision.remaining_seconds,
    )


def is_known(vapi_call_id: str | None) -> bool:
    """Whether a status check about this id finds its call, and so needs no organization."""
    return vapi_call_id is not None and find_call(vapi_call_id) is not None


def extension(call: Call, now: datetime, *, began_at: datetime | None = None) -> ledger.Extension:
    """What the hold of a live call should cover: until after the next check, and the lead.

    It also keeps the hold from expiring while the call can be alive, and its report on the way.
    """
    elapsed_seconds = _elapsed(began_at or _began_at(call, 0, now), now)
    last_possible_second = call.last_possible_second
    return ledger.Extension(
        call_id=call.call_id,
        cover_seconds=elapsed_seconds + _until_next_check_seconds(),
        live_until=last_possible_second + REPORT_GRACE if last_possible_second else None,
    )


def decide(
    call: Call,
    organization: Organization,
    reservation: CreditReservation | None,
    now: datetime,
    *,
    began_at: datetime | None = None,
) -> Decision:
    """Whether a live call may go on, from its hold as it is; nothing is changed but attention.

    A call without a hold lives on what the wallet can spend.
    """
    began_at = began_at or _began_at(call, 0, now)
    if reservation is not None and reservation.is_active:
        has_hold = True
        paid_seconds = reservation.tariff.affordable_seconds(reservation.reserved_pence)
    else:
        has_hold = False
        paid_seconds = _wallet_seconds(organization)
        if call.authorization == Call.Authorization.AUTHORIZED:
            call.add_attention("The hold of this call closed while the call was still alive.")
    paid_until = began_at + timedelta(seconds=paid_seconds)
    remaining_seconds = paid_seconds - _elapsed(began_at, now)
    if other_reason := _other_reason_to_end(call, reservation, now):
        return Decision(must_end=True, message=other_reason, remaining_seconds=remaining_seconds)
    must_end, message = _verdict(organization, remaining_seconds)
    if must_end:
        return Decision(
            must_end=True,
            message=message,
            remaining_seconds=remaining_seconds,
            money_ends_at=None if organization.is_suspended else paid_until,
        )
    # Half of the time between two checks before the end, the hold is raised again. If it cannot
    # be, the caller is told, and the call looked at once more in its last second: one second more
    # would start an increment that nobody pays.
    raise_at = paid_until - timedelta(seconds=_until_next_check_seconds()) / 2
    is_last = now >= raise_at
    last_moment = paid_until - timedelta(seconds=settings.KILL_LEAD_SECONDS)
    check_at = last_moment if is_last else raise_at
    return Decision(
        must_end=False,
        message=message,
        remaining_seconds=remaining_seconds,
        check_at=check_at if has_hold else min(check_at, now + WITHOUT_HOLD),
        must_warn=is_last and call.warned_at is None,
    )


def _other_reason_to_end(
    call: Call, reservation: CreditReservation | None, now: datetime
) -> str | None:
    """Why a call ends that has money; None for most. What should not be, staff are told.

    A call whose end nobody told us of must not hold ever more of the wallet.
    """
    if reservation is not None and reservation.is_settled:
        return "This call is settled."
    if call.authorization == Call.Authorization.REFUSED:
        call.add_attention("It was refused, and Vapi connected it all the same.")
        return "This call was refused."
    if call.unknown_to_vapi_at is not None and now - call.unknown_to_vapi_at >= UNKNOWN_FOR:
        call.add_attention("It was watched as live, and Vapi knows no call by this id.")
        return "Vapi does not know this call."
    # Only by a cap that we told, and Vapi's own: an assistant may be given another at Vapi.
    cap_seconds = call.max_duration_seconds or VAPI_MAX_DURATION_SECONDS
    longest = timedelta(seconds=cap_seconds) + REPORT_GRACE
    if call.started_at is not None and now - call.started_at > longest:
        call.add_attention(f"Its end was not seen, though it was capped at {cap_seconds} s.")
        return "This call is past its longest duration."
    return None


def _verdict(organization: Organization, remaining_seconds: int) -> tuple[bool, str | None]:
    """Whether a call ends that has so many seconds left, and what there is to say about it."""
    if organization.is_suspended:
        return True, "The account is suspended."
    if remaining_seconds <= settings.KILL_LEAD_SECONDS:
        return True, "The balance is used up."
    if remaining_seconds <= _until_next_check_seconds():
        return False, f"{remaining_seconds} seconds of balance remain."
    return False, None


def _began_at(call: Call, reported_seconds: int, now: datetime) -> datetime:
    """When a call began: the earlier of what we and the message know, at most 12 hours ago."""
    reported = now - timedelta(seconds=max(reported_seconds, 0))
    began_at = min(reported, call.started_at or now)
    return max(began_at, now - timedelta(seconds=VAPI_MAX_DURATION_SECONDS))


def _elapsed(began_at: datetime, now: datetime) -> int:
    return (now - began_at) // timedelta(seconds=1)


def _until_next_check_seconds() -> int:
    seconds: int = settings.STATUS_CHECK_SECONDS + settings.KILL_LEAD_SECONDS
    return seconds


def _wallet_seconds(organization: Organization) -> int:
    return organization.tariff.affordable_seconds(organization.spendable_on_calls_pence)


def _report(
    organization: Organization,
    *,
    end_call: bool,
    message: str | None,
    remaining_seconds: int | None = None,
) -> StatusCheck:
    return StatusCheck(
        end_call=end_call,
        message=message,
        balance_pence=organization.balance_pence,
        effective_balance_pence=organization.effective_balance_pence,
        remaining_seconds=remaining_seconds,
    )
