"""Payments that are told, refunded and taken back at the same moment, on real threads."""

import random
import time
import uuid
from functools import partial
from unittest import mock

import pytest

from tests.concurrency.harness import run_together
from tests.factories import TopUpFactory, UserFactory
from tests.wallets.invariants import assert_ledger_intact
from tests.webhooks.stripe_payloads import StripePayment
from wallets import ledger
from wallets.models import CreditTransaction, Refund, TopUp
from wallets.payments import finding, refunds
from wallets.payments.facts import Payment
from wallets.payments.topups import credit
from wallets.selectors import ledger_differences
from webhooks import inbox

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = range(8)


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch):
    monkeypatch.setattr("celery.current_app.send_task", lambda *_args, **_options: None)


@pytest.fixture
def topup(fake_stripe):
    return TopUpFactory(amount_pence=5_000)


@pytest.fixture
def payment(topup):
    return StripePayment(topup.pk, 5_000)


@pytest.fixture
def paid(topup, payment):
    inbox.receive_stripe(payment.intent())
    topup.refresh_from_db()
    return topup


def race(seed, *commands):
    """All at once, each held back around its lock for as long as the seed says."""
    lock = finding.lock_topup

    def delayed(topup):
        choice = random.Random(f"{seed} {time.monotonic_ns()}")
        time.sleep(choice.uniform(0, 0.004))
        locked = lock(topup)
        time.sleep(choice.uniform(0, 0.002))
        return locked

    with (
        mock.patch("wallets.payments.topups.lock_topup", delayed),
        mock.patch("wallets.payments.refunds.lock_topup", delayed),
        mock.patch("wallets.payments.chargebacks.lock_topup", delayed),
    ):
        return run_together(commands)


def assert_wallet(topup, *, balance, owed=0):
    topup.refresh_from_db()
    organization = topup.organization
    organization.refresh_from_db()
    assert (organization.balance_pence, organization.owed_pence) == (balance, owed)
    assert ledger_differences() == []
    assert_ledger_intact()


def give(topup, staff, amount_pence=5_000, refund_id=None):
    return refunds.refund(
        refund_id=refund_id or uuid.uuid4(),
        topup_id=topup.pk,
        amount_pence=amount_pence,
        reason="Asked for",
        requested_by_id=staff.pk,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_given_one_event_when_delivered_many_times_at_once_then_it_is_credited_once(
    topup, payment, seed
):
    told = payment.session()

    outcomes = race(seed, *[partial(inbox.receive_stripe, told)] * 6)

    assert all(outcome.succeeded for outcome in outcomes)
    assert_wallet(topup, balance=5_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_all_events_of_a_payment_when_told_at_once_then_it_is_credited_once(
    topup, payment, seed
):
    told = [
        payment.session(),
        payment.intent(),
        payment.session("async_payment_succeeded"),
        payment.intent("processing"),
        payment.refunded(1_000),
    ]

    outcomes = race(seed, *[partial(inbox.receive_stripe, event) for event in told])

    assert all(outcome.succeeded for outcome in outcomes)
    assert_wallet(topup, balance=4_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_two_members_of_staff_when_both_refund_it_then_one_of_them_does(
    fake_stripe, paid, seed
):
    staff = UserFactory()

    outcomes = race(seed, *[partial(give, paid, staff)] * 4)

    assert sum(outcome.succeeded for outcome in outcomes) == 1
    refused = [outcome.error for outcome in outcomes if not outcome.succeeded]
    assert all(isinstance(error, refunds.RefundNotAllowed) for error in refused)
    assert sum(each["amount"] for each in fake_stripe.refunds) == 5_000
    assert fake_stripe.in_transaction == []
    assert_wallet(paid, balance=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_one_form_when_sent_many_times_at_once_then_it_is_one_refund(fake_stripe, paid, seed):
    staff, refund_id = UserFactory(), uuid.uuid4()

    outcomes = race(seed, *[partial(give, paid, staff, 2_000, refund_id)] * 4)

    assert all(outcome.succeeded for outcome in outcomes)
    assert sum(each["amount"] for each in fake_stripe.refunds) == 2_000
    assert_wallet(paid, balance=3_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_a_refund_from_outside_when_staff_refund_the_rest_then_both_are_taken_once(
    fake_stripe, paid, payment, seed
):
    staff = UserFactory()

    race(
        seed,
        partial(give, paid, staff, 2_000),
        partial(inbox.receive_stripe, payment.refunded(3_000)),
    )
    # The total that Stripe tells in the end has both.
    inbox.receive_stripe(payment.refunded(5_000))

    paid.refresh_from_db()
    assert (paid.refunded_pence, paid.clawed_back_pence) == (2_000, 3_000)
    assert_wallet(paid, balance=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_a_refund_that_is_not_known_when_many_sweeps_look_then_it_is_made_once(
    fake_stripe, paid, payment, seed
):
    fake_stripe.fail("refunds", 500, done=bool(seed % 2), type="api_error")
    refund = give(paid, UserFactory(), 2_000)
    Refund.objects.update(work_due_at=refund.created_at)

    race(
        seed,
        *[refunds.resume_refunds] * 3,
        partial(
            inbox.receive_stripe,
            payment.refund("updated", "re_1", 2_000, status="failed", refund_id=refund.pk),
        ),
    )

    assert sum(each["amount"] for each in fake_stripe.refunds) == 2_000
    refund.refresh_from_db()
    assert refund.status == "returned"
    assert_wallet(paid, balance=5_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_given_a_dispute_when_all_of_it_is_told_at_once_then_it_is_taken_and_back_once(
    paid, payment, seed
):
    told = [
        payment.dispute(),
        payment.dispute("funds_withdrawn"),
        payment.dispute("funds_reinstated", status="won"),
        payment.dispute("funds_reinstated", status="won"),
    ]

    race(seed, *[partial(inbox.receive_stripe, event) for event in told])

    assert_wallet(paid, balance=5_000)
    assert CreditTransaction.objects.filter(type="clawback").count() == 1


def test_given_no_locks_when_staff_refund_at_once_then_more_is_given_back_than_was_paid(
    fake_stripe, paid
):
    """The control: without the lock of the top-up, the test above sees it."""
    staff = UserFactory()
    ledger.add_credits(
        organization_id=paid.organization_id,
        amount_pence=50_000,
        credit_type="bonus",
        description="So that the wallet itself refuses nothing",
        idempotency_key="bonus",
    )

    def unlocked(topup):
        found = TopUp.objects.get(pk=topup.pk)
        time.sleep(0.1)
        return found.organization, found

    with mock.patch("wallets.payments.refunds.lock_topup", unlocked):
        run_together([partial(give, paid, staff)] * 4)

    assert sum(each["amount"] for each in fake_stripe.refunds) > 5_000


def test_given_no_locks_when_a_payment_is_told_at_once_then_only_the_ledgers_key_is_left(
    topup, payment
):
    """The control of the first test: each finds the top-up open, and the ledger alone says no."""

    def unlocked(found):
        time.sleep(0.1)
        return found.organization, found

    told = Payment(
        topup_id=str(topup.pk), payment_intent_id=payment.id, amount_pence=5_000, currency="gbp"
    )
    with mock.patch("wallets.payments.topups.lock_topup", unlocked):
        outcomes = run_together([partial(credit, told)] * 4)

    said = [outcome.result.text for outcome in outcomes if outcome.succeeded]
    assert said.count("Credited 5000p.") > 1
