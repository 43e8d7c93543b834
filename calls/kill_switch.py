"""Ending a call whose money is gone: the decision, and the act.

The decision compares seconds, never pence: a hold of 49p pays for 60 seconds, not for one. A
call's own hold is the money for that call, not a reason to end it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls.identity import find_call
from calls.models import Call
from calls.secrets import decrypt_control_url
from telephony import vapi_client
from telephony.models import VAPI_MAX_DURATION_SECONDS
from wallets import ledger
from wallets.locks import lock_organization
from wallets.models import CreditReservation, Organization
from wallets.selectors import reservation_of_call

logger = structlog.get_logger(__name__)

# How long after its last possible second a call's report may still be on its way.
REPORT_GRACE = timedelta(minutes=5)
# An order to end that has not been confirmed is sent again after 2, 4, 8 … seconds.
MAX_END_ATTEMPTS = 8
FIRST_END_RETRY = timedelta(seconds=10)
# How long a call may show life after Vapi has taken the order to end it.
END_TAKES_EFFECT = timedelta(seconds=30)
ENDS_PER_SWEEP = 500


@dataclass(frozen=True, kw_only=True)
class StatusCheck:
    """Whether a call must end. Figures that are not known are None; all are pence or seconds."""

    end_call: bool
    message: str | None = None
    balance_pence: int | None = None
    effective_balance_pence: int | None = None
    remaining_seconds: int | None = None


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
        return _verdict(organization, remaining_seconds)

    organization = lock_organization(call.organization_id)
    call = Call.objects.select_for_update(no_key=True).get(pk=call.pk)
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
        order_end(call, money_ended_at=None)
        return _report(organization, end_call=True, message="This call is being ended.")
    elapsed_seconds = elapsed(call, reported_elapsed_seconds, timezone.now())
    remaining_seconds = _keep_ahead(call, organization, reservation, elapsed_seconds)
    organization.refresh_from_db()
    verdict = _verdict(organization, remaining_seconds)
    if verdict.end_call:
        money_ends_at = timezone.now() + timedelta(seconds=remaining_seconds)
        order_end(call, money_ended_at=None if organization.is_suspended else money_ends_at)
    return verdict


def is_known(vapi_call_id: str | None) -> bool:
    """Whether a status check about this id finds its call, and so needs no organization."""
    return vapi_call_id is not None and find_call(vapi_call_id) is not None


def elapsed(call: Call, reported_seconds: int, now: datetime) -> int:
    """Seconds that a call has lasted: the longer of what we and the message know, 0 to 43,200."""
    known_seconds = int((now - call.started_at).total_seconds()) if call.started_at else 0
    return min(max(known_seconds, reported_seconds, 0), VAPI_MAX_DURATION_SECONDS)


def _keep_ahead(
    call: Call,
    organization: Organization,
    reservation: CreditReservation | None,
    elapsed_seconds: int,
) -> int:
    """Raise a live call's hold to last until after the next check; returns the seconds it pays.

    Also keeps the hold from expiring while the call can be alive, suspended or not. A call without
    a hold lives on what the wallet can spend.
    """
    if reservation is None or not reservation.is_active:
        if call.authorization == Call.Authorization.AUTHORIZED:
            call.add_attention("The hold of this call closed while the call was still alive.")
            call.save(update_fields=["attention"])
        return _wallet_seconds(organization) - elapsed_seconds
    until_next_check = settings.STATUS_CHECK_SECONDS + settings.KILL_LEAD_SECONDS
    extended = ledger.extend_reservation(
        call_id=call.call_id,
        cover_seconds=0 if organization.is_suspended else elapsed_seconds + until_next_check,
        live_until=_last_possible_second(call),
    )
    return reservation.tariff.affordable_seconds(extended.reserved_pence) - elapsed_seconds


def _last_possible_second(call: Call) -> datetime | None:
    """Until when a call that has started can be alive, and its report on the way."""
    if call.started_at is None:
        return None
    cap_seconds = call.max_duration_seconds
    if cap_seconds is None and call.assistant is not None:
        cap_seconds = call.assistant.max_duration_seconds
    return (
        call.started_at + timedelta(seconds=cap_seconds or VAPI_MAX_DURATION_SECONDS) + REPORT_GRACE
    )


def order_end(call: Call, *, money_ended_at: datetime | None) -> None:
    """Record that a live call must end, and send the order once this is committed.

    The caller holds the call's lock. If the task is lost, the sweep finds the order and sends it.
    Ordered again, because the call still shows life, it is sent again.
    """
    now = timezone.now()
    if call.end_ordered_at is None:
        call.end_ordered_at = now
        call.money_ended_at = money_ended_at
        logger.info(
            "call_end_ordered", call_id=call.call_id, organization_id=str(call.organization_id)
        )
    elif call.end_sent_at is not None:
        if now - call.end_sent_at > END_TAKES_EFFECT:
            call.add_attention("Vapi took the order to end this call, and the call went on.")
        call.end_sent_at = None
    call.end_retry_at = now + FIRST_END_RETRY
    call.save(
        update_fields=[
            "end_ordered_at",
            "money_ended_at",
            "end_sent_at",
            "end_retry_at",
            "attention",
        ]
    )
    transaction.on_commit(lambda: send_end.delay(str(call.pk)), robust=True)


@shared_task
def send_end(call_pk: str) -> None:
    """Send the order to end a call to its control URL; safe to repeat. Never under a lock."""
    call = Call.objects.get(pk=call_pk)
    if call.end_ordered_at is None or call.end_sent_at is not None or call.is_over:
        Call.objects.filter(pk=call_pk).update(end_retry_at=None)
        return
    control_url = decrypt_control_url(call.control_url_encrypted)
    failure = ""
    try:
        if control_url is None:
            failure = "Vapi gave no control address for it."
        else:
            vapi_client.end_call(control_url)
    except vapi_client.VapiRequestFailed as error:
        failure = str(error)
    _record_end_attempt(call_pk, failure)


@transaction.atomic
def _record_end_attempt(call_pk: str, failure: str) -> None:
    call = Call.objects.select_for_update(no_key=True).get(pk=call_pk)
    now = timezone.now()
    call.end_attempts += 1
    call.end_retry_at = None
    if not failure:
        call.end_sent_at = now
    elif not call.is_over:
        logger.warning("call_end_failed", call_id=call.call_id, failure=failure)
        if call.end_attempts < MAX_END_ATTEMPTS:
            call.end_retry_at = now + timedelta(seconds=2**call.end_attempts)
        else:
            call.add_attention(f"This call must end and could not be ended: {failure}")
    call.save(update_fields=["end_attempts", "end_retry_at", "end_sent_at", "attention"])


def overdue_ends() -> list[UUID]:
    """The calls whose order to end is due to be sent again, the longest waiting first."""
    return list(
        Call.objects.filter(end_retry_at__lte=timezone.now())
        .order_by("end_retry_at")
        .values_list("pk", flat=True)[:ENDS_PER_SWEEP]
    )


def _wallet_seconds(organization: Organization) -> int:
    return organization.tariff.affordable_seconds(organization.spendable_on_calls_pence)


def _verdict(organization: Organization, remaining_seconds: int) -> StatusCheck:
    end_call = True
    message: str | None
    if organization.is_suspended:
        message = "The account is suspended."
    elif remaining_seconds <= settings.KILL_LEAD_SECONDS:
        # One second more would start an increment that nobody pays.
        message = "The balance is used up."
    else:
        end_call = False
        soon = remaining_seconds <= settings.STATUS_CHECK_SECONDS + settings.KILL_LEAD_SECONDS
        message = f"{remaining_seconds} seconds of balance remain." if soon else None
    return _report(
        organization, end_call=end_call, message=message, remaining_seconds=remaining_seconds
    )


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
