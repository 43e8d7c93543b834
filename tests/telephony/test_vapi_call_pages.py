"""Vapi's list of calls in pages: each call once, oldest page first, whatever lies together."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony import vapi_call_pages
from telephony.vapi_call_pages import pages
from telephony.vapi_calls import CallList

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
LIMIT = 4


@dataclass(frozen=True)
class Listed:
    id: int
    updated_at: datetime


def at(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def listing(calls):
    def list_calls(*, updated_from, updated_to):
        found = [call for call in calls if updated_from <= call.updated_at < updated_to]
        return CallList(records=found[-LIMIT:], is_whole=len(found) < LIMIT)

    return list_calls


@given(st.lists(st.integers(0, 5000), max_size=60))
def test_every_call_is_on_one_page_unless_too_many_share_a_millisecond(moments) -> None:
    calls = [Listed(number, at(moment)) for number, moment in enumerate(moments)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vapi_call_pages, "list_calls", listing(calls))
        found = list(pages(updated_from=START, updated_to=at(5001), most_requests=10_000))
    crowded = {moment for moment in moments if moments.count(moment) >= LIMIT}
    listed = [call for page in found for call in page.records]
    assert len(listed) == len(set(listed))
    missing = set(calls) - set(listed)
    assert {call.updated_at for call in missing} <= {at(moment) for moment in crowded}
    assert all(page.is_whole for page in found) == (not crowded)
    untils = [page.until for page in found]
    assert untils == sorted(untils)
    assert untils[-1] == at(5001)
    for page in found:
        assert all(call.updated_at < page.until for call in page.records)


def test_given_few_requests_when_there_are_many_calls_then_the_rest_is_left(monkeypatch) -> None:
    calls = [Listed(number, at(number * 10)) for number in range(100)]
    monkeypatch.setattr(vapi_call_pages, "list_calls", listing(calls))
    found = list(pages(updated_from=START, updated_to=at(1000), most_requests=12))
    assert 0 < sum(len(page.records) for page in found) < 100
    rest = list(pages(updated_from=found[-1].until, updated_to=at(1000), most_requests=1000))
    assert sum(len(page.records) for page in found + rest) == 100


def test_given_no_time_when_paged_then_nothing_is_asked() -> None:
    assert list(pages(updated_from=START, updated_to=START, most_requests=5)) == []
