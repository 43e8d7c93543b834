"""Ending calls: the order, and telling Vapi, for many calls at the same time.

An order to end is kept in the database until Vapi has taken it; what a lost task would have sent,
the sweep finds and sends. Nothing here waits for Vapi under a lock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from celery import shared_task
from django.db import transaction
from django.utils import timezone

from calls import asking
from calls.models import Call
from calls.secrets import decrypt_control_url
from telephony.models import PhoneNumber
from telephony.vapi_control import ControlMessage, send_control
from voxbilling.after_commit import send_after_commit
from wallets import alerts

logger = structlog.get_logger(__name__)

# How long whoever sends an order has it to themselves: longer than Vapi is waited for.
FIRST_END_RETRY = timedelta(seconds=7)
# An order that Vapi has not taken is sent again after 0.5, 1, 2, 4 … seconds. After so many
# attempts staff are told, and it is sent on, slowly, for as long as the call lives.
SHORTEST_PAUSE = timedelta(seconds=0.5)
ATTEMPTS_BEFORE_ATTENTION = 10
LONGEST_PAUSE = timedelta(minutes=2)
# How long a call may show life after Vapi has taken the order to end it.
END_TAKES_EFFECT = timedelta(seconds=30)
ENDS_PER_SWEEP = 500

SWEEP_TASK = "calls.tasks.watch_due_calls"
# Beat sweeps live calls this often (voxbilling/celery.py).
SWEEP_INTERVAL = timedelta(seconds=5)
# Calls that are due within the same tenth of a second share a sweep.
MOMENT = timedelta(milliseconds=100)

# In seconds: the regular sweep has long done what a sweep so late would do.
_SWEEP_EXPIRES = 60
_END_CALL = {"type": "end-call"}
_NO_ADDRESS = "Vapi gave no control address for it."


def sweep_at(moments: Iterable[datetime | None]) -> None:
    """Have live calls looked at, once this is committed, at these very moments.

    Only at those that come so soon that the regular sweep may be late for them. If the task is
    lost, that one finds the call.
    """
    soon = timezone.now() + 2 * SWEEP_INTERVAL
    for moment in {_rounded_up(moment) for moment in moments if moment and moment <= soon}:
        send_after_commit(SWEEP_TASK, eta=moment, expires=_SWEEP_EXPIRES)


def mark_end(call: Call, *, money_ended_at: datetime | None) -> None:
    """Decide that a live call ends; the caller holds its lock, saves it and sends the order.

    Ordered again, because the call still shows life, it is sent again.
    """
    now = timezone.now()
    call.check_at = None
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
    asking.expect_end(call)


MARKED = [
    "reconcile_at",
    "check_at",
    "end_ordered_at",
    "money_ended_at",
    "end_sent_at",
    "end_retry_at",
    "attention",
]


def order_end(call: Call, *, money_ended_at: datetime | None) -> None:
    """Record that a live call must end, and send the order once this is committed.

    The caller holds the call's lock. If the task is lost, the sweep finds the order and sends it.
    """
    if call.end_ordered_at is None and money_ended_at is not None:
        tell_of_cut_off([call])
    mark_end(call, money_ended_at=money_ended_at)
    call.save(update_fields=MARKED)
    transaction.on_commit(lambda: send_end.delay(str(call.pk)), robust=True)


def tell_of_cut_off(calls: Sequence[Call]) -> None:
    """Have those who pay for these calls told that they were ended for want of money.

    The caller holds the organizations' locks.
    """
    numbers = PhoneNumber.objects.in_bulk([call.phone_number_id for call in calls])
    by_organization: dict[UUID, list[alerts.CutOffCall]] = defaultdict(list)
    for call in calls:
        number = numbers.get(call.phone_number_id)
        by_organization[call.organization_id].append(
            alerts.CutOffCall(
                call_id=call.call_id,
                number=number.number if number else None,
                started_at=call.started_at,
            )
        )
    alerts.tell_of_calls_cut_off(by_organization)


@shared_task
def send_end(call_pk: str) -> None:
    """Send the order to end one call; safe to repeat."""
    send_ends([UUID(call_pk)])


def send_ends(call_pks: Iterable[UUID]) -> None:
    """Send the orders to end these calls, all at the same time; safe to repeat."""
    calls = Call.objects.filter(pk__in=list(call_pks))
    due = [call for call in calls if call.is_to_be_told_to_end]
    urls = {call.pk: decrypt_control_url(call.control_url_encrypted) for call in due}
    reachable = [(call.pk, url) for call in due if (url := urls[call.pk])]
    failures: dict[UUID, str | None] = {call.pk: _NO_ADDRESS for call in due}
    results = send_control([ControlMessage(url=url, body=_END_CALL) for _, url in reachable])
    failures |= {pk: failure for (pk, _), failure in zip(reachable, results, strict=True)}
    if due:
        _record(failures)


def warn(remaining_seconds: Mapping[UUID, int]) -> None:
    """Tell callers how long their money lasts; a caller who cannot be told is not told."""
    calls = Call.objects.filter(pk__in=remaining_seconds)
    urls = [(decrypt_control_url(call.control_url_encrypted), call.pk) for call in calls]
    send_control(
        [ControlMessage(url=url, body=_warning(remaining_seconds[pk])) for url, pk in urls if url]
    )


@transaction.atomic
def take_overdue() -> list[UUID]:
    """The calls whose order to end is due to be sent again; for a while nobody else gets them."""
    now = timezone.now()
    calls = list(
        Call.objects.select_for_update(no_key=True, skip_locked=True)
        .filter(end_retry_at__lte=now)
        .order_by("end_retry_at")[:ENDS_PER_SWEEP]
    )
    Call.objects.filter(pk__in=[call.pk for call in calls]).update(
        end_retry_at=now + FIRST_END_RETRY
    )
    return [call.pk for call in calls]


@transaction.atomic
def _record(failures: Mapping[UUID, str | None]) -> None:
    """Note for each call whether Vapi took the order, and when it is sent again if not."""
    calls = Call.objects.select_for_update(no_key=True).filter(pk__in=failures).order_by("pk")
    now = timezone.now()
    for call in calls:
        failure = failures[call.pk]
        call.end_attempts += 1
        call.end_retry_at = None
        if failure is None:
            call.end_sent_at = now
        elif call.ended_at is None:
            facts = {"call_id": call.call_id, "organization_id": str(call.organization_id)}
            logger.warning("call_end_failed", **facts, failure=failure)
            pause = SHORTEST_PAUSE * 2 ** (min(call.end_attempts, ATTEMPTS_BEFORE_ATTENTION) - 1)
            call.end_retry_at = now + min(pause, LONGEST_PAUSE)
            if call.end_attempts == ATTEMPTS_BEFORE_ATTENTION:
                logger.error("call_cannot_be_ended", **facts, failure=failure)
                call.add_attention(f"This call must end and could not be ended: {failure}")
    sweep_at(call.end_retry_at for call in calls)
    Call.objects.bulk_update(calls, ["end_attempts", "end_retry_at", "end_sent_at", "attention"])


def _warning(remaining_seconds: int) -> dict[str, str]:
    sentence = f"Please note: this call ends in {remaining_seconds} seconds, with its credit."
    return {"type": "say", "content": sentence}


def _rounded_up(moment: datetime) -> datetime:
    """The end of the tenth of a second that a moment lies in."""
    return moment + (datetime.min.replace(tzinfo=moment.tzinfo) - moment) % MOMENT
