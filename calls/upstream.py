"""Vapi's figures beside ours: calls that it bills the operator for, and that we do not bill."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import structlog
from django.utils import timezone

from calls import reconciliation
from calls.models import Call, UpstreamDay, VapiReading
from telephony.vapi_call_pages import pages
from telephony.vapi_calls import CallRecord, VapiRequestFailed
from wallets.pricing import connected_seconds

logger = structlog.get_logger(__name__)

# By then the last calls of a day have been billed, or are known not to be.
COMPARED_AFTER = timedelta(hours=2)
# After days without a comparison no more of them are made up for: Vapi's list is long.
DAYS_MADE_UP_FOR = 7
REQUESTS_PER_DAY = 500
MOST_DETAILS = 50


class ListTooLong(VapiRequestFailed):
    """There are more pages than are asked for."""


@dataclass(frozen=True)
class Difference:
    """A call as Vapi has it and as we have it, in seconds; None where it is not."""

    vapi_call_id: str
    vapi_seconds: int | None
    our_seconds: int | None

    def __str__(self) -> str:
        return (
            f"{self.vapi_call_id}: {_seconds(self.vapi_seconds)} at Vapi, "
            f"{_seconds(self.our_seconds)} here"
        )


def compare_next_day() -> UpstreamDay | None:
    """Compare the first day that is over and was not compared; None if there is none.

    A difference is logged as an error, once, and shown to staff. Safe to run twice at once.
    """
    if reconciliation.is_quiet():
        return None
    for day in _days_to_compare():
        try:
            return _compare(day)
        except ListTooLong as failure:
            # Nor will it be read the next time: the days after it have their turn.
            logger.error("upstream_not_compared", day=str(day), reason=str(failure))
        except VapiRequestFailed as failure:
            logger.warning("upstream_not_compared", day=str(day), reason=str(failure))
            reconciliation.heed(failure)
            return None
    return None


def _compare(day: date) -> UpstreamDay:
    compared, is_new = _record(day, _listed(day))
    if is_new and compared.differs:
        logger.error(
            "upstream_difference",
            day=str(day),
            vapi_calls=compared.vapi_calls,
            our_calls=compared.our_calls,
            vapi_seconds=compared.vapi_seconds,
            our_seconds=compared.our_seconds,
        )
    return compared


def minutes(seconds: int) -> str:
    """Whole minutes and seconds, like 3:05."""
    return f"{seconds // 60}:{seconds % 60:02}"


def _days_to_compare() -> list[date]:
    """The days that are over and were not compared, the first one first."""
    now = timezone.now().astimezone(UTC)
    reading = VapiReading.objects.first()
    if reading is None:
        return []
    last = (now - COMPARED_AFTER).date() - timedelta(days=1)
    # On the day on which billing began, some calls were somebody else's to bill.
    first = max(
        reading.began_at.astimezone(UTC).date() + timedelta(days=1),
        last - timedelta(days=DAYS_MADE_UP_FOR - 1),
    )
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    compared = set(UpstreamDay.objects.filter(day__in=days).values_list("day", flat=True))
    return [day for day in days if day not in compared]


def _listed(day: date) -> dict[str, int]:
    """The connected calls that ended on a day by Vapi's list, and their seconds.

    A call is changed no earlier than it ends. Raises VapiRequestFailed, and ListTooLong for a
    list that could not be read to its end.
    """
    start, end = _bounds(day)
    now = timezone.now()
    found: dict[str, int] = {}
    read_to = start
    for page in pages(updated_from=start, updated_to=now, most_requests=REQUESTS_PER_DAY):
        read_to = page.until
        found |= {record.id: seconds for record, seconds in _connected(page.records, start, end)}
    if read_to < now:
        raise ListTooLong("Vapi's list of the day is too long to be read.")
    return found


def _connected(
    records: Sequence[CallRecord], start: datetime, end: datetime
) -> Iterator[tuple[CallRecord, int]]:
    for record in records:
        if record.started_at is None or record.ended_at is None:
            continue
        if start <= record.ended_at < end and record.ended_at > record.started_at:
            yield record, connected_seconds(record.started_at, record.ended_at)


def _record(day: date, theirs: Mapping[str, int]) -> tuple[UpstreamDay, bool]:
    start, end = _bounds(day)
    calls = Call.objects.filter(
        announced_by_vapi=True,
        vapi_call_id__isnull=False,
        ended_at__gte=start,
        ended_at__lt=end,
        duration_seconds__gt=0,
        # What was reported and never settled is on nobody's bill.
        settled_at__isnull=False,
    )
    ours = {
        vapi_call_id: seconds
        for vapi_call_id, seconds in calls.values_list("vapi_call_id", "duration_seconds")
        if vapi_call_id is not None and seconds is not None
    }
    differences = [
        Difference(vapi_call_id, theirs.get(vapi_call_id), ours.get(vapi_call_id))
        for vapi_call_id in sorted(theirs.keys() | ours.keys())
        if theirs.get(vapi_call_id) != ours.get(vapi_call_id)
    ]
    return UpstreamDay.objects.get_or_create(
        day=day,
        defaults={
            "vapi_calls": len(theirs),
            "vapi_seconds": sum(theirs.values()),
            "our_calls": len(ours),
            "our_seconds": sum(ours.values()),
            "details": "\n".join(map(str, differences[:MOST_DETAILS])),
            "compared_at": timezone.now(),
        },
    )


def _bounds(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, UTC)
    return start, start + timedelta(days=1)


def _seconds(seconds: int | None) -> str:
    return "nothing" if seconds is None else f"{seconds} s"
