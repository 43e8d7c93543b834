"""Calls that Vapi says nothing more about: it is asked, and its record settles them.

What Vapi answers goes through the same functions as what it tells (`calls.lifecycle`), each answer
in a transaction of its own. Vapi is asked outside any transaction, a few calls at the same time.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from calls import asking, kill_switch, lifecycle, review
from calls.identity import find_call, lock_calls
from calls.models import Call, UnbilledCall, VapiReading
from calls.outcomes import Outcome
from calls.references import CallReference
from telephony.vapi_calls import CallRecord, CallUnknown, VapiBusy, VapiRequestFailed, get_call
from voxbilling import logs
from wallets import ledger
from wallets.locks import atomic_against_other_organizations, lock_organization
from wallets.selectors import HoldKey, holds_expiring, reservation_of_call

logger = structlog.get_logger(__name__)

# Vapi is asked about so many calls at the same time, and about no more in a second.
ASKED_AT_ONCE = 5
BATCH_SECONDS = 1.0
# Together a little less than the time to the next sweep.
BATCHES_PER_SWEEP = 12
# How long Vapi is left alone when it answers nothing that is of use.
OUTAGE_PAUSE = timedelta(seconds=30)
# Answers that do not settle an ended call, before staff decide: about an hour of them.
MOST_USELESS_ANSWERS = 8
MOST_ATTEMPTS_COUNTED = 1000
# How old a call is that Vapi could not be asked about when staff are shown it.
UNANSWERED_FOR = timedelta(hours=1)
# How long before its hold expires Vapi is asked about a call, and from when the hold is kept if
# Vapi has not answered: a little more than until the next sweep of holds.
ASKED_BEFORE_EXPIRY = timedelta(minutes=5)
KEPT_BEFORE_EXPIRY = timedelta(seconds=90)


@dataclass(frozen=True, kw_only=True)
class _Question:
    vapi_call_id: str
    attempts: int


def settle_missing_reports() -> int:
    """Ask Vapi about the calls that are due, and do what its records say; returns how many.

    Bounded, and no faster than Vapi allows. Safe to run twice at once: a call that is asked about
    is due again only after a pause.
    """
    asked = 0
    for number in range(BATCHES_PER_SWEEP):
        if is_quiet():
            break
        if number:
            time.sleep(BATCH_SECONDS)
        due = _take_due()
        if not due:
            break
        answers = _ask(due)
        for question, answer in zip(due, answers, strict=True):
            _take_in(question, answer)
        asked += len(due)
        _heed(answers)
        if len(due) < ASKED_AT_ONCE:
            break
    return asked


def bill_unbilled(record: CallRecord) -> Outcome:
    """Do what Vapi's record says of a call that nobody could be billed for; for staff."""
    outcome = apply(record)
    if outcome.usable:
        UnbilledCall.objects.filter(pk=record.id).delete()
    return outcome


@atomic_against_other_organizations
def apply(record: CallRecord, *, attempts: int = 0) -> Outcome:
    """Do what Vapi's record of a call says, as if Vapi had told it.

    `attempts` is how often Vapi has been asked about this call since it last told something.
    """
    now = timezone.now()
    reference = reference_to(record)
    if has_ended(record):
        outcome = lifecycle.settle(
            reference,
            ended_reason=record.ended_reason,
            started_at=record.started_at,
            ended_at=record.ended_at,
            # A call that never started cost nobody anything.
            duration_seconds=0 if record.started_at is None else None,
            cost_usd=record.cost_usd,
            received_at=now,
        )
    elif record.status in lifecycle.LIVE_STATUSES:
        outcome = lifecycle.progress(
            reference,
            status=record.status,
            ended_reason=None,
            occurred_at=record.started_at,
            received_at=now,
        )
    else:
        outcome = Outcome(text=f"Vapi shows it {record.status}.")
    if attempts:
        _ask_later(record, attempts)
    return outcome


def reference_to(record: CallRecord) -> CallReference:
    return CallReference(
        vapi_call_id=record.id,
        call_type=record.type,
        vapi_phone_number_id=record.phone_number_id,
        phone_number=record.number,
        vapi_squad_id=record.squad_id,
        vapi_assistant_id=record.assistant_id,
        control_url=record.control_url,
    )


def has_ended(record: CallRecord) -> bool:
    return record.status == "ended" or record.ended_at is not None


# --- Leaving Vapi alone -----------------------------------------------------------------------


def is_quiet() -> bool:
    """Whether Vapi is left alone now, because it was busy or did not answer."""
    return VapiReading.objects.filter(quiet_until__gt=timezone.now()).exists()


def leave_alone(how_long: timedelta) -> None:
    """Ask Vapi nothing for so long, whoever would ask."""
    until = timezone.now() + how_long
    logger.warning("vapi_left_alone", until=until.isoformat())
    VapiReading.objects.update_or_create(
        pk=VapiReading.THE_ONE,
        defaults={"quiet_until": until},
        create_defaults={"quiet_until": until, "scan_from": timezone.now()},
    )


def heed(failure: VapiRequestFailed) -> None:
    """Leave Vapi alone for as long as its failure to answer suggests."""
    patience = timedelta(0)
    if isinstance(failure, VapiBusy):
        patience = timedelta(seconds=failure.retry_after_seconds)
    leave_alone(max(patience, OUTAGE_PAUSE))


# --- Holds ------------------------------------------------------------------------------------


def expire_holds() -> int:
    """Give back the holds past their expiry; returns how many.

    Not those of calls that Vapi was not asked about, or that staff have to decide on. Vapi is asked
    some minutes before; while it cannot be, the money stays held.
    """
    now = timezone.now()
    after: HoldKey | None = None
    while holds := holds_expiring(before=now + ASKED_BEFORE_EXPIRY, after=after):
        after = holds[-1].key
        ids = {call_id for hold in holds for call_id in hold.call_ids}
        in_doubt = Call.objects.filter(Q(call_id__in=ids) | Q(vapi_call_id__in=ids)).filter(
            Q(reconcile_at__isnull=False, unknown_to_vapi_at=None) | ~Q(review_reason="")
        )
        in_doubt.filter(reconcile_at__gt=now).update(reconcile_at=now)
        kept = {
            call_id for pair in in_doubt.values_list("call_id", "vapi_call_id") for call_id in pair
        }
        _renew(
            [
                hold.call_ids[0]
                for hold in holds
                if kept.intersection(hold.call_ids) and hold.expires_at < now + KEPT_BEFORE_EXPIRY
            ]
        )
    return ledger.cleanup_expired_reservations()


def _renew(call_ids: list[str]) -> None:
    renewed = ledger.extend_reservations(
        extensions=[ledger.Extension(call_id=call_id, cover_seconds=0) for call_id in call_ids]
    )
    for call_id in set(call_ids) - set(renewed):
        # Its organization was busy; here it is waited for.
        ledger.extend_reservation(call_id=call_id, cover_seconds=0)


# --- Asking -----------------------------------------------------------------------------------


@transaction.atomic
def _take_due() -> list[_Question]:
    """Take the calls that are due longest; until their next moment they are nobody else's."""
    now = timezone.now()
    due = list(
        Call.objects.select_for_update(no_key=True, skip_locked=True)
        .filter(reconcile_at__lte=now)
        .order_by("reconcile_at")[:ASKED_AT_ONCE]
    )
    for call in due:
        call.reconcile_attempts = min(call.reconcile_attempts + 1, MOST_ATTEMPTS_COUNTED)
        call.reconcile_at = now + asking.pause(call.reconcile_attempts)
    Call.objects.bulk_update(due, ["reconcile_at", "reconcile_attempts"])
    return [
        _Question(vapi_call_id=call.vapi_call_id or "", attempts=call.reconcile_attempts)
        for call in due
    ]


def _ask(questions: Sequence[_Question]) -> list[CallRecord | VapiRequestFailed]:
    with ThreadPoolExecutor(len(questions)) as threads:
        return list(threads.map(_record_of, questions))


def _record_of(question: _Question) -> CallRecord | VapiRequestFailed:
    try:
        return get_call(question.vapi_call_id)
    except VapiRequestFailed as failure:
        return failure


def _take_in(question: _Question, answer: CallRecord | VapiRequestFailed) -> None:
    with logs.about(vapi_call_id=question.vapi_call_id):
        _take_in_one(question, answer)


def _take_in_one(question: _Question, answer: CallRecord | VapiRequestFailed) -> None:
    try:
        if isinstance(answer, CallRecord):
            outcome = apply(answer, attempts=question.attempts)
            logger.info("vapi_asked", outcome=outcome.text)
        elif isinstance(answer, CallUnknown):
            _note_unknown(question)
        else:
            logger.warning("vapi_not_asked", reason=str(answer))
            _note_no_answer(question, answer)
    except Exception:
        # It is due again after its pause, and the others have their turn.
        logger.exception("call_not_reconciled")


def _heed(answers: Sequence[CallRecord | VapiRequestFailed]) -> None:
    failures = [
        answer
        for answer in answers
        if isinstance(answer, VapiRequestFailed) and not isinstance(answer, CallUnknown)
    ]
    busy = [failure for failure in failures if isinstance(failure, VapiBusy)]
    if busy:
        heed(max(busy, key=lambda failure: failure.retry_after_seconds))
    elif len(failures) == len(answers):
        heed(failures[0])


def _ask_later(record: CallRecord, attempts: int) -> None:
    """Note when Vapi is asked again about a call that its answer did not settle."""
    call = _lock(record.id)
    if call is None or not call.awaits_vapi:
        return
    call.reconcile_attempts = attempts
    if attempts >= MOST_USELESS_ANSWERS:
        if call.is_over:
            review.hold(
                call, f"It has ended, and Vapi's record shows it {record.status} without end."
            )
        else:
            call.add_attention(f"Vapi shows it {record.status}, and tells nothing of it.")
    asking.ask_again(call)
    call.save()


@transaction.atomic
def _note_unknown(question: _Question) -> None:
    """Vapi knows no such call. Its hold runs out in its own time, and then staff decide."""
    call = _lock(question.vapi_call_id)
    if call is None or not call.awaits_vapi:
        return
    now = timezone.now()
    call.unknown_to_vapi_at = call.unknown_to_vapi_at or now
    call.add_attention("Vapi answers that it knows no call by this id.")
    reservation = reservation_of_call(call.call_id, call.organization_id)
    has_hold = reservation is not None and reservation.is_active
    if not has_hold and now - call.unknown_to_vapi_at >= kill_switch.UNKNOWN_FOR:
        if not call.is_over:
            lifecycle.mark_ended(call, None, now)
        review.hold(call, "Vapi answers that it knows no call by this id, and its hold is gone.")
    asking.ask_again(call)
    call.save()


@transaction.atomic
def _note_no_answer(question: _Question, failure: VapiRequestFailed) -> None:
    """Vapi could not be asked, so that this was no attempt; after a while staff are shown it."""
    call = _lock(question.vapi_call_id)
    if call is None or not call.awaits_vapi:
        return
    call.reconcile_attempts = question.attempts - 1
    if timezone.now() - (call.ended_at or call.created_at) > UNANSWERED_FOR:
        call.add_attention(f"Vapi could not be asked about it: {failure}")
    call.save(update_fields=["reconcile_attempts", "attention"])


def _lock(vapi_call_id: str) -> Call | None:
    call = find_call(vapi_call_id)
    if call is None:
        return None
    lock_organization(call.organization_id)
    return lock_calls(Call.objects.filter(pk=call.pk)).get()
