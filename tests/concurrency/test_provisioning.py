"""Orders of numbers at the same time: one number for a key, one for the money of one, one worker.

The controls take a guard away and see what it is for.
"""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import time_machine
from django.db import connection

from telephony import leases, providers, provisioning, purchasing, releases, rentals
from telephony.models import NumberOrder, PhoneNumber
from telephony.provisioning import ProvisioningFailed, ProvisioningInProgress
from tests.concurrency.harness import HANGING_AFTER_SECONDS, run_together
from tests.factories import OrganizationFactory
from tests.telephony.expectations import assert_all_or_nothing
from tests.telephony.fake_providers import BUY, IMPORT, LIST, SEARCH, TIME_OUT, FakeProviders
from tests.wallets.invariants import assert_ledger_intact, entries, wallet_figures
from wallets import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fake(monkeypatch):
    fake = FakeProviders()
    fake.offer(*[f"+4420794601{last:02}" for last in range(50)])
    monkeypatch.setattr(providers.httpx, "request", fake.request)
    return fake


def buy(organization, key="key"):
    return provisioning.provision(
        organization_id=organization.pk,
        country="GB",
        number_type="local",
        idempotency_key=key,
    )


def later(**time):
    return time_machine.travel(datetime.now(UTC) + timedelta(**time), tick=True)


def kinds(outcomes):
    """How many outcomes there were of each kind."""
    return Counter(
        type(outcome.error).__name__ if outcome.error else outcome.result.duplicate
        for outcome in outcomes
    )


def unfinished(organization, fake):
    """Orders whose purchase or import was not answered: every second one did come about."""
    fake.fail(BUY, TIME_OUT, done=True)
    fake.fail(BUY, TIME_OUT)
    fake.fail(IMPORT, TIME_OUT, done=True)
    fake.fail(IMPORT, TIME_OUT)
    for key in "abcd":
        with pytest.raises(ProvisioningInProgress):
            buy(organization, key)
    assert NumberOrder.objects.filter(work_due_at__isnull=False).count() == 4


def test_one_key_twenty_times_at_once_is_one_number(fake):
    organization = OrganizationFactory(funded_pence=50_000)

    outcomes = run_together([lambda: buy(organization)] * 20)

    seen = kinds(outcomes)
    assert seen[False] == 1
    assert seen[False] + seen[True] + seen["ProvisioningInProgress"] == 20
    assert fake.count(BUY) == 1
    assert wallet_figures(organization).balance_pence == 49_000
    assert len({outcome.result.number for outcome in outcomes if outcome.succeeded}) == 1
    assert_all_or_nothing(organization, fake)


def test_thirty_orders_on_the_money_of_one_are_one_number(fake):
    organization = OrganizationFactory(funded_pence=1_000)

    outcomes = run_together([partial(buy, organization, str(key)) for key in range(30)])

    assert kinds(outcomes) == {False: 1, "InsufficientBalance": 29}
    assert NumberOrder.objects.count() == 1
    assert_all_or_nothing(organization, fake)


def test_many_orders_at_once_get_a_number_each(fake):
    organizations = [OrganizationFactory(funded_pence=2_000) for _ in range(5)]

    outcomes = run_together(
        [partial(buy, organization, key) for organization in organizations for key in "ab"]
    )

    assert kinds(outcomes) == {False: 10}
    assert len({outcome.result.number for outcome in outcomes}) == 10
    for organization in organizations:
        assert_all_or_nothing(organization, fake)


def test_five_sweeps_at_once_work_on_each_order_once(fake):
    organization = OrganizationFactory(funded_pence=10_000)
    unfinished(organization, fake)

    with later(minutes=6):
        outcomes = run_together([provisioning.resume_orders] * 5)

    assert all(outcome.succeeded for outcome in outcomes)
    assert sum(outcome.result for outcome in outcomes) == 4
    # Of each kind one came about: it was found. The purchase that did not was given up.
    assert fake.count(BUY) == 4
    assert Counter(NumberOrder.objects.values_list("status", flat=True)) == {
        "active": 3,
        "refunded": 1,
    }
    assert_all_or_nothing(organization, fake)


class SlowAt:
    """Holds one request up at an operation, before the provider does it, until it may go on."""

    def __init__(self, fake, operation):
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.operation = operation
        self.fake = fake
        fake.hooks[operation] = self._wait

    def _wait(self, fake):
        del fake.hooks[self.operation]
        self.reached.set()
        assert self.go_on.wait(HANGING_AFTER_SECONDS)

    def meanwhile(self, work):
        assert self.reached.wait(HANGING_AFTER_SECONDS)
        try:
            return work()
        finally:
            self.go_on.set()


def test_a_slow_request_is_left_alone_while_its_lease_lasts(fake):
    organization = OrganizationFactory(funded_pence=1_000)
    slow = SlowAt(fake, BUY)

    outcomes = run_together(
        [
            lambda: buy(organization),
            lambda: slow.meanwhile(provisioning.resume_orders),
        ]
    )

    assert outcomes[1].result == 0
    assert outcomes[0].result.number
    assert fake.count(LIST) == 0
    assert_all_or_nothing(organization, fake)


def sweep_after_the_lease():
    with later(minutes=3):
        return provisioning.resume_orders()


def test_a_request_that_was_taken_over_before_its_purchase_sends_none(fake):
    organization = OrganizationFactory(funded_pence=1_000)
    slow = SlowAt(fake, SEARCH)

    outcomes = run_together(
        [lambda: buy(organization), lambda: slow.meanwhile(sweep_after_the_lease)]
    )

    assert isinstance(outcomes[0].error, ProvisioningFailed)
    assert fake.count(BUY) == 0
    assert_all_or_nothing(organization, fake)


def test_a_request_that_was_taken_over_during_its_purchase_leaves_the_number_to_the_sweep(fake):
    organization = OrganizationFactory(funded_pence=1_000)
    slow = SlowAt(fake, BUY)

    outcomes = run_together(
        [lambda: buy(organization), lambda: slow.meanwhile(sweep_after_the_lease)]
    )
    assert isinstance(outcomes[0].error, ProvisioningInProgress)
    with later(minutes=10):
        provisioning.resume_orders()

    assert buy(organization).duplicate
    assert fake.count(BUY) == 1
    assert_all_or_nothing(organization, fake)


def test_control_without_the_lease_a_number_is_bought_for_a_refunded_order(fake, monkeypatch):
    def record_without_looking(row, **changes):
        type(row).objects.filter(pk=row.pk).update(**{"work_due_at": leases.lease_end(), **changes})
        for name, value in changes.items():
            setattr(row, name, value)

    monkeypatch.setattr(leases, "record", record_without_looking)
    organization = OrganizationFactory(funded_pence=1_000)
    slow = SlowAt(fake, SEARCH)

    run_together([lambda: buy(organization), lambda: slow.meanwhile(sweep_after_the_lease)])

    assert fake.count(BUY) == 1
    assert wallet_figures(organization).balance_pence == 1_000
    with pytest.raises(AssertionError):
        assert_all_or_nothing(organization, fake)


class TestTwilioThatSellsUsOurOwnNumbers:
    """It answers the second purchase of a number with the first one, under the new name."""

    @pytest.fixture
    def organization(self, fake):
        """Two orders have both seen the one number that is for sale before either asks for it."""
        fake.sells_again = True
        del fake.for_sale[1:]
        both = threading.Barrier(2)
        fake.hooks[SEARCH] = lambda fake: both.wait(HANGING_AFTER_SECONDS)
        return OrganizationFactory(funded_pence=2_000)

    def test_one_order_gets_the_number_and_the_other_its_money(self, organization, fake):
        outcomes = run_together([partial(buy, organization, key) for key in "ab"])

        assert kinds(outcomes) == {False: 1, "ProvisioningFailed": 1}
        assert_all_or_nothing(organization, fake)

    def test_control_without_the_constraint_both_are_at_one_number(
        self, organization, fake, monkeypatch
    ):
        # Whoever is slower would see the other's claim, and there would be no race.
        monkeypatch.setattr(purchasing, "_not_taken_here", lambda numbers: (numbers, False))
        constraint = next(
            constraint
            for constraint in NumberOrder._meta.constraints
            if constraint.name == "number_orders_number_at_work_once"
        )
        both = threading.Barrier(2)
        fake.hooks[BUY] = lambda fake: both.wait(HANGING_AFTER_SECONDS)
        with connection.schema_editor() as editor:
            editor.remove_constraint(NumberOrder, constraint)
        try:
            run_together([partial(buy, organization, key) for key in "ab"])
        finally:
            with connection.schema_editor() as editor:
                editor.add_constraint(NumberOrder, constraint)

        # One number was sold to both, and so the order that was charged second has none.
        assert fake.count(BUY) == 2
        assert len(fake.twilio) == 1
        with pytest.raises(AssertionError):
            assert_all_or_nothing(organization, fake)


def test_many_sweeps_at_once_charge_each_month_once(fake):
    organizations = [OrganizationFactory(funded_pence=6_000) for _ in range(3)]
    for organization in organizations:
        for key in "ab":
            buy(organization, key)

    with later(days=70):
        # A sweep leaves a wallet that another has locked to the next sweep.
        for _ in range(5):
            outcomes = run_together([rentals.charge_rents] * 5)
            assert all(outcome.succeeded for outcome in outcomes)

    for organization in organizations:
        assert [entry[0] for entry in entries(organization)].count("number_rental") == 4
        assert wallet_figures(organization).balance_pence == 0
    assert set(PhoneNumber.objects.values_list("months_paid", flat=True)) == {3}
    assert_ledger_intact()


def test_rent_and_release_at_once_charge_and_release_once(fake):
    organization = OrganizationFactory(funded_pence=3_000)
    number_id = buy(organization).phone_number_id

    with later(days=32):
        outcomes = run_together(
            [
                rentals.charge_rents,
                lambda: releases.release_number(
                    organization_id=organization.pk, phone_number_id=number_id
                ),
                rentals.charge_rents,
            ]
        )

        # A release that met a rent at work on the number is left to the sweep.
        assert {type(outcome.error) for outcome in outcomes} <= {
            type(None),
            releases.ReleaseInProgress,
        }
        releases.resume_releases()
    number = PhoneNumber.objects.get()
    assert (number.status, number.rent_attempt_at) == ("released", None)
    paid = [entry[0] for entry in entries(organization)].count("number_rental")
    assert paid == number.months_paid - 1 <= 1
    assert fake.twilio == fake.vapi == {}
    assert_ledger_intact()


def test_one_number_released_many_times_at_once_is_released_once(fake):
    organization = OrganizationFactory(funded_pence=1_000)
    number_id = buy(organization).phone_number_id

    outcomes = run_together(
        [
            partial(
                releases.release_number,
                organization_id=organization.pk,
                phone_number_id=number_id,
            )
        ]
        * 10
    )

    assert {type(outcome.error) for outcome in outcomes} <= {
        type(None),
        releases.ReleaseInProgress,
    }
    assert fake.count("vapi release") == fake.count("twilio release") == 1
    assert PhoneNumber.objects.get().status == "released"


def test_a_refusal_while_others_spend_leaves_the_ledger_whole(fake):
    organization = OrganizationFactory(funded_pence=3_000)
    fake.fail(IMPORT, (400, {"message": "no"}), times=None)

    outcomes = run_together(
        [partial(buy, organization, str(key)) for key in range(6)]
        + [
            partial(
                ledger.reserve_call_credits, organization_id=organization.pk, call_id=f"call-{n}"
            )
            for n in range(6)
        ]
    )

    assert not [
        outcome
        for outcome in outcomes
        if outcome.error
        and not isinstance(outcome.error, ProvisioningFailed | ledger.InsufficientBalance)
    ]
    assert_all_or_nothing(organization, fake)
