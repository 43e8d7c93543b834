"""Vapi's list of calls in pages, by when Vapi last changed them.

The list has neither a cursor nor this order: it shows the calls that were created last. So where
not all are shown, a shorter time is asked for, down to the millisecond in which Vapi counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from telephony.vapi_calls import CallRecord, list_calls

_SHORTEST = timedelta(milliseconds=1)


@dataclass(frozen=True)
class CallPage:
    """All calls that were changed before `until` and after the page before; the oldest page first.

    Not `is_whole` if so many share one millisecond that Vapi does not show them all.
    """

    records: list[CallRecord]
    until: datetime
    is_whole: bool


def pages(
    *, updated_from: datetime, updated_to: datetime, most_requests: int
) -> Iterator[CallPage]:
    """The calls that Vapi updated in this time; not all of them, if that takes too many requests.

    Raises VapiBusy, VapiRequestFailed.
    """
    start, end = updated_from, updated_to
    for _ in range(most_requests):
        if start >= updated_to:
            return
        listed = list_calls(updated_from=start, updated_to=end)
        if not listed.is_whole and end - start > _SHORTEST:
            end = start + max((end - start) / 2, _SHORTEST)
            continue
        yield CallPage(records=listed.records, until=end, is_whole=listed.is_whole)
        # As much again: where many calls are, many are likely to follow.
        start, end = end, min(end + 2 * (end - start), updated_to)
