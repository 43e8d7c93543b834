"""The monthly price of numbers: when it is due, that it is charged once, and what if not."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import IntegrityError, transaction

from telephony import provisioning, releases, rentals
from telephony.models import PhoneNumber
from telephony.rentals import GRACE, start_of_month
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.invariants import assert_ledger_intact, entries, nothing_changes
from wallets import ledger
from wallets.models import Alert

pytestmark = pytest.mark.django_db

BOUGHT_AT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
MARCH = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def number(db, fake):
    """A number that was bought on 31 January for 1,000p, by a wallet with 1,500p left."""
    organization = OrganizationFactory(funded_pence=2_500)
    with time_machine.travel(BOUGHT_AT, tick=False):
        provisioning.provision(organization_id=organization.pk, country="GB", number_type="local")
    return PhoneNumber.objects.get()


def charge(at):
    with time_machine.travel(at, tick=False):
        return rentals.charge_rents()


def credit(number, pence):
    ledger.add_credits(
        organization_id=number.organization_id,
        amount_pence=pence,
        credit_type="topup",
        description="More",
        idempotency_key=f"more {pence}",
    )


def rents(number):
    return [entry for entry in entries(number.organization) if entry[0] == "number_rental"]


@pytest.mark.parametrize(
    ("bought", "months", "due"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2026-01-31", 2, "2026-03-31"),
        ("2026-01-31", 3, "2026-04-30"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2028-01-30", 1, "2028-02-29"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2028-02-29", 48, "2032-02-29"),
        ("2026-12-15", 1, "2027-01-15"),
        ("2026-10-25", 1, "2026-11-25"),
    ],
)
def test_months_run_from_the_purchase_and_end_with_short_months(bought, months, due):
    purchased_at = datetime.fromisoformat(f"{bought}T12:00:00+00:00")

    assert start_of_month(purchased_at, months) == datetime.fromisoformat(f"{due}T12:00:00+00:00")


def test_months_run_in_utc_whatever_the_zone_of_the_purchase():
    in_tokyo = datetime.fromisoformat("2026-02-01T08:30:00+09:00")

    assert in_tokyo == BOUGHT_AT
    assert start_of_month(in_tokyo, 1) == FEBRUARY


def test_the_purchase_pays_the_first_month_and_each_later_one_is_charged_once(number):
    with nothing_changes():
        assert charge(FEBRUARY - SECOND) == 0

    assert charge(FEBRUARY) == 1
    with nothing_changes():
        assert charge(FEBRUARY) == 0
        assert charge(MARCH - SECOND) == 0

    number.refresh_from_db()
    assert rents(number) == [("number_rental", -1_000, 0)]
    assert (number.months_paid, number.paid_until) == (2, MARCH)
    assert number.rent_attempt_at == MARCH
    assert_ledger_intact()


def test_months_that_were_missed_are_charged_one_by_one(number):
    credit(number, 5_000)

    assert charge(datetime(2026, 4, 30, 23, 30, tzinfo=UTC)) == 3

    number.refresh_from_db()
    assert rents(number) == [("number_rental", -1_000, 0)] * 3
    assert number.paid_until == datetime(2026, 5, 31, 23, 30, tzinfo=UTC)


def test_given_money_for_some_missed_months_then_those_are_paid(number):
    assert charge(MARCH) == 1

    number.refresh_from_db()
    assert (number.months_paid, number.rent_unpaid_since) == (2, MARCH)


def test_a_price_of_the_past_stays_the_price_of_the_number(number, settings):
    settings.PHONE_NUMBER_COST_PENCE = 5
    charge(FEBRUARY)
    assert rents(number) == [("number_rental", -1_000, 0)]


def test_money_that_is_held_for_calls_pays_no_rent(number):
    ledger.reserve_call_credits(
        organization_id=number.organization_id, call_id="a", estimated_minutes=11
    )
    with nothing_changes():
        assert charge(FEBRUARY) == 0


@pytest.fixture
def unpaid(number):
    """The number, with a wallet that had too little when its second month was due."""
    ledger.adjust_balance(
        organization_id=number.organization_id,
        change_pence=-501,
        reason="Spent",
        idempotency_key="spent",
    )
    assert charge(FEBRUARY) == 0
    number.refresh_from_db()
    return number


def test_given_too_little_money_then_staff_see_it_and_the_number_stays(unpaid, fake):
    assert unpaid.rent_unpaid_since == FEBRUARY
    assert unpaid.status == "active"
    assert unpaid.rent_attempt_at == FEBRUARY + timedelta(hours=1)
    assert charge(FEBRUARY + GRACE - SECOND) == 0
    unpaid.refresh_from_db()
    assert unpaid.status == "active"
    assert unpaid.rent_unpaid_since == FEBRUARY
    assert unpaid.rent_attempt_at == FEBRUARY + GRACE
    assert len(fake.twilio) == len(fake.vapi) == 1


def told(number):
    alerts = Alert.objects.filter(organization=number.organization_id, key__contains=number.pk)
    return [(alert.kind, alert.context) for alert in alerts.order_by("created_at")]


def test_given_too_little_money_then_the_customer_is_told_once_by_when_it_must_be_paid(unpaid):
    charge(FEBRUARY + timedelta(hours=1))
    charge(FEBRUARY + timedelta(days=1))

    assert told(unpaid) == [
        (
            "rental_unpaid",
            {
                "number": unpaid.number,
                "price_pence": 1_000,
                "releases_at": "2026-03-07T23:30:00Z",
            },
        )
    ]


def test_given_no_money_by_the_end_of_the_grace_period_then_the_customer_is_told(unpaid):
    charge(FEBRUARY + GRACE)
    charge(FEBRUARY + GRACE + timedelta(hours=1))

    assert told(unpaid)[1:] == [
        (
            "number_released",
            {
                "number": unpaid.number,
                "price_pence": 1_000,
                "unpaid_since_at": "2026-02-28T23:30:00Z",
            },
        )
    ]


def test_given_a_later_month_that_cannot_be_paid_either_then_that_is_told_again(unpaid):
    credit(unpaid, 1_000)
    charge(FEBRUARY + timedelta(hours=1))
    charge(MARCH)

    assert [kind for kind, _ in told(unpaid)] == ["rental_unpaid"] * 2


def test_a_number_that_the_customer_gave_back_is_no_news(number, fake):
    with time_machine.travel(FEBRUARY - SECOND, tick=False):
        releases.release_number(organization_id=number.organization_id, phone_number_id=number.pk)

    assert told(number) == []


def test_given_money_within_the_grace_period_then_nothing_is_lost(unpaid):
    credit(unpaid, 1_000)

    assert charge(FEBRUARY + GRACE - SECOND) == 1

    unpaid.refresh_from_db()
    assert unpaid.rent_unpaid_since is None
    # The months still run from the purchase.
    assert (unpaid.months_paid, unpaid.paid_until) == (2, MARCH)
    assert charge(FEBRUARY + GRACE) == 0
    assert rents(unpaid) == [("number_rental", -1_000, 0)]


def test_given_money_at_the_last_moment_then_the_number_stays(unpaid):
    credit(unpaid, 1_000)

    assert charge(FEBRUARY + GRACE) == 1

    unpaid.refresh_from_db()
    assert unpaid.status == "active"


def test_given_no_money_by_the_end_of_the_grace_period_then_the_number_is_released(unpaid, fake):
    with nothing_changes():
        assert charge(FEBRUARY + GRACE) == 0
    unpaid.refresh_from_db()
    assert unpaid.status == "releasing"
    assert "grace period" in unpaid.release_reason

    with time_machine.travel(FEBRUARY + GRACE, tick=False):
        assert releases.resume_releases() == 1

    unpaid.refresh_from_db()
    assert unpaid.status == "released"
    assert fake.twilio == fake.vapi == {}
    credit(unpaid, 5_000)
    with nothing_changes():
        assert charge(MARCH + timedelta(days=400)) == 0


def test_a_suspended_organization_has_the_same_grace(number):
    ledger.suspend_organization(organization_id=number.organization_id)
    assert charge(FEBRUARY) == 0
    number.refresh_from_db()
    assert number.rent_unpaid_since == FEBRUARY

    ledger.resume_organization(organization_id=number.organization_id)
    assert charge(FEBRUARY + timedelta(days=1)) == 1


def test_after_an_outage_of_ours_the_grace_begins_when_it_was_first_asked_for(number):
    ledger.suspend_organization(organization_id=number.organization_id)

    assert charge(FEBRUARY + timedelta(days=20)) == 0

    number.refresh_from_db()
    assert number.status == "active"
    assert number.rent_unpaid_since == FEBRUARY + timedelta(days=20)


def test_a_number_that_staff_entered_costs_nothing(fake):
    PhoneNumberFactory(organization=OrganizationFactory(funded_pence=5_000))
    with nothing_changes():
        assert charge(datetime(2040, 1, 1, tzinfo=UTC)) == 0


def test_one_number_that_breaks_does_not_keep_others_from_paying(number, monkeypatch, fake):
    credit(number, 5_000)
    with time_machine.travel(BOUGHT_AT + SECOND, tick=False):
        provisioning.provision(
            organization_id=number.organization_id, country="GB", number_type="local"
        )
    deduct, broken = ledger.check_balance_and_deduct_asset_cost, []

    def break_once(**asked):
        if not broken:
            broken.append(asked)
            raise RuntimeError("a fault of ours")
        return deduct(**asked)

    monkeypatch.setattr(rentals.ledger, "check_balance_and_deduct_asset_cost", break_once)

    assert charge(FEBRUARY + SECOND) == 1
    assert charge(FEBRUARY + SECOND) == 1
    assert_ledger_intact()


def test_the_number_of_statements_does_not_grow_with_what_was_paid(
    number, django_assert_max_num_queries
):
    credit(number, 100_000)
    charge(datetime(2027, 12, 31, 23, 30, tzinfo=UTC))
    with django_assert_max_num_queries(20):
        assert charge(datetime(2028, 1, 31, 23, 30, tzinfo=UTC)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"months_paid": None},
        {"months_paid": 0},
        {"monthly_price_pence": 0},
        {"paid_until": BOUGHT_AT},
        {"purchased_at": None},
        {"rent_attempt_at": None},
        {"twilio_sid": None},
        {"status": "released"},
        {"status": "releasing"},
        {"status": "lost"},
        {"work_due_at": MARCH},
    ],
)
def test_the_database_refuses_a_number_whose_rent_is_not_whole(number, change):
    with pytest.raises(IntegrityError), transaction.atomic():
        PhoneNumber.objects.filter(pk=number.pk).update(**change)
