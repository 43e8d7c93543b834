"""Reading Vapi's list of calls, for those that no message told of, or told the end of.

The list is read on from where the last sweep stopped, by when Vapi last changed a call. What ended
a minute ago is left to its report.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.db.models import Q
from django.utils import timezone

from calls import reconciliation
from calls.lifecycle import LIVE_STATUSES
from calls.models import Call, UnbilledCall, VapiReading
from calls.outcomes import NOBODY_PAYS
from telephony.selectors import find_any_phone_numbers, find_assistants
from telephony.vapi_call_pages import pages
from telephony.vapi_calls import CallRecord, VapiRequestFailed
from voxbilling import logs
from wallets.selectors import call_ids_with_reservation

logger = structlog.get_logger(__name__)

# What Vapi changed so recently is left to its messages.
REPORTS_COME_FIRST = timedelta(seconds=60)
# Read again by the next sweep: a list may lag behind, and clocks may differ.
OVERLAP = timedelta(minutes=10)
REQUESTS_PER_SWEEP = 20
# Longer than a sweep takes; if one dies, the next begins after this.
LEASE = timedelta(minutes=3)


def scan() -> int | None:
    """Read Vapi's list on, and bill the calls that are not billed; returns how many those were.

    None if the list could not be read, Vapi is left alone for now, or another sweep reads the list.

    Bounded, and resumed by the next sweep. Safe to run twice at once: each call is settled once.
    """
    reading = _take_reading()
    if reading is None:
        return None
    end = timezone.now() - REPORTS_COME_FIRST
    billed, is_read = 0, True
    try:
        for page in pages(
            updated_from=reading.scan_from, updated_to=end, most_requests=REQUESTS_PER_SWEEP
        ):
            if not page.is_whole:
                logger.error("vapi_list_incomplete", until=page.until.isoformat())
            billed += _bill(page.records)
            is_last = page.until >= end
            # Never back beyond where this sweep began: what came before was never ours to bill.
            read_to = max(end - OVERLAP, reading.scan_from) if is_last else page.until
            VapiReading.objects.update(scan_from=read_to)
    except VapiRequestFailed as failure:
        is_read = False
        logger.warning("vapi_list_not_read", reason=str(failure))
        reconciliation.heed(failure)
    VapiReading.objects.update(scanning_until=None)
    return billed if is_read else None


def _take_reading() -> VapiReading | None:
    """How far the list was read, if nobody reads it now and Vapi may be asked.

    The first sweep of all finds nothing to read.
    """
    now = timezone.now()
    VapiReading.objects.get_or_create(pk=VapiReading.THE_ONE, defaults={"scan_from": now})
    free = VapiReading.objects.filter(
        Q(scanning_until=None) | Q(scanning_until__lte=now),
        Q(quiet_until=None) | Q(quiet_until__lte=now),
    )
    if not free.update(scanning_until=now + LEASE):
        return None
    return VapiReading.objects.get()


def _bill(records: Sequence[CallRecord]) -> int:
    """Bill what is not billed of these calls; a fixed number of statements, and some for each."""
    ids = [record.id for record in records]
    known: dict[str, Call] = {}
    for call in Call.objects.filter(Q(call_id__in=ids) | Q(vapi_call_id__in=ids)):
        known[call.call_id] = call
    known |= {call.vapi_call_id: call for call in known.values() if call.vapi_call_id}
    has_payer = _with_payer(records) | call_ids_with_reservation(ids)
    billed = 0
    unbilled: dict[str, tuple[CallRecord, str]] = {}
    for record in records:
        known_call = known.get(record.id)
        if known_call is None and record.id not in has_payer:
            if reconciliation.has_ended(record) and record.started_at is not None:
                unbilled[record.id] = (record, NOBODY_PAYS.text)
        elif _is_news(record, known_call):
            try:
                # The list tells nothing new of a call that Vapi was asked about in vain.
                attempts = known_call.reconcile_attempts if known_call else 0
                with logs.about(vapi_call_id=record.id):
                    reconciliation.apply(record, attempts=attempts)
                UnbilledCall.objects.filter(pk=record.id).delete()
                billed += 1
            except Exception as error:
                logger.exception("call_not_billed", call_id=record.id)
                unbilled[record.id] = (record, f"It could not be billed: {type(error).__name__}.")
    _show(unbilled)
    return billed


def _is_news(record: CallRecord, call: Call | None) -> bool:
    if call is None:
        return reconciliation.has_ended(record) or record.status in LIVE_STATUSES
    if reconciliation.has_ended(record):
        return not call.is_settled_for_good
    return record.started_at is not None and call.started_at is None and not call.is_over


def _with_payer(records: Sequence[CallRecord]) -> set[str]:
    """The ids of those calls whose number or assistant is somebody's here."""
    numbers = find_any_phone_numbers(
        vapi_phone_number_ids=[
            record.phone_number_id for record in records if record.phone_number_id
        ],
        numbers=[record.number for record in records if record.number],
    )
    found = set(numbers.values_list("vapi_phone_number_id", flat=True))
    found |= set(numbers.values_list("number", flat=True))
    found |= set(
        find_assistants(
            [
                vapi_id
                for record in records
                for vapi_id in (record.squad_id, record.assistant_id)
                if vapi_id
            ]
        ).values_list("vapi_assistant_id", flat=True)
    )
    return {
        record.id
        for record in records
        if found & {record.phone_number_id, record.number, record.squad_id, record.assistant_id}
    }


def _show(unbilled: dict[str, tuple[CallRecord, str]]) -> None:
    """Show calls to staff that are on Vapi's bill and on nobody's here; each is told once."""
    seen = set(UnbilledCall.objects.filter(pk__in=unbilled).values_list("vapi_call_id", flat=True))
    new = [
        UnbilledCall(
            vapi_call_id=record.id,
            type=record.type or "",
            vapi_phone_number_id=record.phone_number_id or "",
            phone_number=record.number or "",
            vapi_assistant_id=record.assistant_id or record.squad_id or "",
            started_at=record.started_at,
            ended_at=record.ended_at,
            vapi_cost_usd=record.cost_usd,
            reason=reason,
        )
        for record, reason in unbilled.values()
        if record.id not in seen
    ]
    if new:
        UnbilledCall.objects.bulk_create(new, ignore_conflicts=True)
        logger.error("calls_not_billed", count=len(new), first=new[0].vapi_call_id)
