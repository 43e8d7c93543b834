"""GET /api/calls, one call, and what calls earn."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from calls import self_reported
from calls.models import Call
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.steps import correct
from wallets.models import CreditTransaction

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)


@pytest.fixture
def read(ask, viewer):
    def get(query="", address="/api/calls", as_user=viewer, **options):
        return ask("GET", address + query, as_user=as_user, **options)

    return get


def reserve(organization, call_id):
    self_reported.reserve(organization_id=organization.pk, call_id=call_id, estimated_minutes=5)


def commit(organization, call_id, seconds=61):
    self_reported.commit(organization_id=organization.pk, call_id=call_id, duration_seconds=seconds)


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [call["call_id"] for call in answer.json()["calls"]]


def test_a_settled_call(organization, read):
    number = PhoneNumberFactory(organization=organization)
    with time_machine.travel(NOON, tick=False):
        commit(organization, "call-1")
    Call.objects.update(
        phone_number=number, started_at=NOON - timedelta(seconds=61), type="webCall", attention="!"
    )

    answer = read()

    call = Call.objects.get()
    assert answer.json() == {
        "calls": [
            {
                "id": str(call.pk),
                "call_id": "call-1",
                "vapi_call_id": None,
                "type": "webCall",
                "phone_number": number.number,
                "status": "settled",
                "created_at": "2026-05-10T12:00:00Z",
                "started_at": "2026-05-10T11:58:59Z",
                "ended_at": "2026-05-10T12:00:00Z",
                "ended_reason": "",
                "duration_seconds": 61,
                "reserved_pence": 0,
                "charged_pence": 98,
                "uncollected_pence": 0,
                "not_charged_because": "",
                "settled_from": "customer",
                "transaction_id": str(CreditTransaction.objects.get(type="call_deduction").pk),
            }
        ],
        "pagination": {"limit": 20, "next": None, "previous": None},
    }
    assert read(address=f"/api/calls/{call.pk}").json() == answer.json()["calls"][0]


def test_a_live_call_shows_what_is_held(organization, read):
    reserve(organization, "call-1")

    [call] = read().json()["calls"]

    assert (call["status"], call["reserved_pence"]) == ("live", 245)
    assert (call["charged_pence"], call["transaction_id"]) == (None, None)


def test_a_call_that_was_charged_by_its_correction_names_that_entry(organization, read):
    commit(organization, "call-1", 0)
    correct(organization, "call-1", 61)

    [call] = read().json()["calls"]

    assert call["transaction_id"] == str(CreditTransaction.objects.get(type="adjustment").pk)


def test_pages_are_newest_first_and_stay_as_they_are(organization, read):
    with time_machine.travel(NOON, tick=False):  # all at one moment: the id decides
        for number in range(7):
            reserve(organization, f"call-{number}")
    everything = ids(read())

    first = read("?limit=3")
    reserve(organization, "newer")
    cursor = first.json()["pagination"]["next"]
    second = read(f"?limit=3&cursor={cursor}")
    third = read(f"?limit=3&cursor={second.json()['pagination']['next']}")

    assert [*ids(first), *ids(second), *ids(third)] == everything
    assert third.json()["pagination"]["next"] is None
    back = read(f"?limit=3&cursor={third.json()['pagination']['previous']}")
    assert ids(back) == ids(second)
    newest = read(f"?limit=3&cursor={back.json()['pagination']['previous']}")
    assert ids(newest) == ids(first)
    newer_still = read(f"?limit=3&cursor={newest.json()['pagination']['previous']}")
    assert ids(newer_still) == ["newer"]
    assert newer_still.json()["pagination"]["previous"] is None


def test_filters(organization, read):
    numbers = [PhoneNumberFactory(organization=organization) for _ in range(2)]
    for day, (call_id, number) in enumerate(
        [("one", numbers[0]), ("two", numbers[1]), ("three", numbers[0])]
    ):
        with time_machine.travel(NOON + timedelta(days=day), tick=False):
            reserve(organization, call_id)
        Call.objects.filter(call_id=call_id).update(phone_number=number)
    commit(organization, "two")

    assert ids(read("?status=live")) == ["three", "one"]
    assert ids(read("?status=settled")) == ["two"]
    digits = numbers[0].number.removeprefix("+")
    for written in (f"%2B{digits}", f"+{digits}", digits):
        assert ids(read(f"?phone_number={written}")) == ["three", "one"]
    assert ids(read("?phone_number=%2B4420000000")) == []
    assert ids(read("?date_from=2026-05-11")) == ["three", "two"]
    assert ids(read("?date_to=2026-05-11")) == ["two", "one"]
    assert ids(read("?date_from=2026-05-11&date_to=2026-05-11&status=settled")) == ["two"]
    cursor = read(f"?phone_number={digits}&limit=1").json()["pagination"]["next"]
    assert ids(read(f"?phone_number={digits}&limit=1&cursor={cursor}")) == ["one"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "status=ended", "status=", "cursor=x", "cursor=",
        "phone_number=abc", "phone_number=12", "date_from=2026-13-01", "date_to=yesterday",
        "date_from=2026-05-11T00:00:00Z", "=1",
    ],
)  # fmt: skip
def test_a_bad_parameter_is_refused_by_its_name(read, query):
    answer = read(f"?{query}")

    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [query.split("=")[0] or "query"]


@pytest.mark.parametrize("date", ["0001-01-01", "9999-12-31"])
def test_dates_at_the_ends_of_the_calendar_are_taken(organization, read, date):
    reserve(organization, "call-1")

    assert ids(read(f"?date_from=0001-01-01&date_to={date}")) == (
        ["call-1"] if date.startswith("9") else []
    )


def test_nobody_sees_the_calls_of_others(ask, organization, viewer, read):
    other = OrganizationFactory(funded_pence=10_000)
    number = PhoneNumberFactory(organization=other)
    reserve(other, "theirs")
    Call.objects.update(phone_number=number)
    theirs = Call.objects.get()

    assert ids(read()) == []
    assert ids(read(f"?phone_number={number.number.removeprefix('+')}")) == []
    answer = read(address=f"/api/calls/{theirs.pk}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert read(organization=other).status_code == 403


def test_given_a_forgotten_filter_then_postgresql_still_keeps_others_calls_back(
    monkeypatch, organization, read
):
    reserve(OrganizationFactory(funded_pence=10_000), "theirs")
    reserve(organization, "ours")
    # As if the selectors asked for everybody's.
    monkeypatch.setattr(
        "calls.selectors._of_customer",
        lambda _organization_id: Call.objects.defer(*Call.HIDDEN_FROM_CUSTOMERS),
    )

    assert ids(read()) == ["ours"]


def test_a_page_takes_as_many_statements_for_many_calls_as_for_one(organization, read):
    reserve(organization, "call-0")
    with CaptureQueriesContext(connection) as few:
        read()
    for number in range(1, 30):
        reserve(organization, f"call-{number}")
        commit(organization, f"call-{number}")
    with CaptureQueriesContext(connection) as many:
        read("?limit=100")

    assert len(many) == len(few)


def settled(organization, call_id, *, ended_at, charged_pence, cost_usd):
    Call.objects.create(
        organization=organization,
        call_id=call_id,
        announced_by_vapi=True,
        settled_from="vapi",
        settled_at=ended_at,
        ended_at=ended_at,
        charged_pence=charged_pence,
        uncollected_pence=0,
        vapi_cost_usd=cost_usd and Decimal(cost_usd),
    )


PROFIT = "/api/billing/wallet/profit"


def test_profit_by_day_and_in_total_is_rounded_once_each(ask, staff, organization, settings):
    settings.USD_TO_GBP_RATE = Decimal("0.79")
    other = OrganizationFactory()
    midnight = datetime(2026, 5, 10, tzinfo=UTC)
    day = timedelta(days=1)
    settled(organization, "a", ended_at=midnight, charged_pence=98, cost_usd="0.25")
    settled(organization, "b", ended_at=midnight + day / 2, charged_pence=49, cost_usd=None)
    settled(
        organization, "c", ended_at=midnight - timedelta(microseconds=1), charged_pence=0,
        cost_usd="0.006",
    )  # fmt: skip
    settled(organization, "early", ended_at=midnight - 2 * day, charged_pence=7, cost_usd="7")
    settled(other, "theirs", ended_at=midnight, charged_pence=1_000, cost_usd="1")

    with time_machine.travel(NOON, tick=False):
        answer = ask("GET", f"{PROFIT}?days=2", as_user=staff, organization=organization)

    assert answer.status_code == 200
    assert answer.json() == {
        "days": 2,
        # 25.6 US cents are 20.224p.
        "provider_cost_pence": 20,
        "charged_pence": 147,
        "gross_profit_pence": 127,
        "margin_percent": 86.4,
        "by_day": [
            {
                "date": "2026-05-09",
                "provider_cost_pence": 0,
                "charged_pence": 0,
                "gross_profit_pence": 0,
                "margin_percent": None,
            },
            {
                "date": "2026-05-10",
                "provider_cost_pence": 20,
                "charged_pence": 147,
                "gross_profit_pence": 127,
                "margin_percent": 86.4,
            },
        ],
    }


def test_profit_shows_a_loss(ask, staff, organization):
    settled(organization, "a", ended_at=NOON, charged_pence=49, cost_usd="2")

    with time_machine.travel(NOON, tick=False):
        body = ask("GET", PROFIT, as_user=staff, organization=organization).json()

    assert (body["gross_profit_pence"], body["margin_percent"]) == (-109, -222.4)
    assert (body["days"], len(body["by_day"])) == (30, 30)


def test_profit_is_for_staff(ask, owner, viewer, staff, organization):
    for person in (owner, viewer):
        answer = ask("GET", PROFIT, as_user=person)
        assert (answer.status_code, answer.json()["code"]) == (403, "staff_only")
    assert ask("GET", PROFIT, as_user=staff).status_code == 400  # names no organization


@pytest.mark.parametrize("days", ["0", "367", "x", "", "1.5"])
def test_profit_of_other_than_1_to_366_days_is_refused(ask, staff, organization, days):
    answer = ask("GET", f"{PROFIT}?days={days}", as_user=staff, organization=organization)

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["days"])
