"""Refunds by staff: taken from the wallet, given back by Stripe, and never neither nor both."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine

from tests.factories import OrganizationFactory, TopUpFactory, UserFactory
from tests.wallets.invariants import assert_ledger_intact
from tests.wallets.steps import reserve
from wallets import ledger
from wallets.models import Alert, Refund
from wallets.payments import chargebacks, refunds, topups
from wallets.payments.facts import DisputeNews, Payment, RefundedTotal, RefundNews
from wallets.payments.refunds import RefundNotAllowed
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REFUSED = {"type": "invalid_request_error", "code": "charge_already_refunded", "message": "No."}


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def topup(fake_stripe):
    """A paid top-up of £50 in a wallet that has nothing else."""
    topup = TopUpFactory(organization=OrganizationFactory(), amount_pence=5_000)
    topups.credit(
        Payment(
            topup_id=str(topup.pk), payment_intent_id="pi_1", amount_pence=5_000, currency="gbp"
        )
    )
    topup.refresh_from_db()
    return topup


@pytest.fixture
def staff():
    return UserFactory(is_staff=True)


@pytest.fixture
def give(topup, staff):
    def give(amount_pence=5_000, refund_id=None):
        return refunds.refund(
            refund_id=refund_id or uuid.uuid4(),
            topup_id=topup.pk,
            amount_pence=amount_pence,
            reason="Asked for",
            requested_by_id=staff.pk,
        )

    return give


def assert_state(topup, *, balance, refunded, owed=0, suspended=False):
    topup.refresh_from_db()
    organization = topup.organization
    organization.refresh_from_db()
    assert (organization.balance_pence, organization.owed_pence) == (balance, owed)
    assert topup.refunded_pence == refunded
    assert organization.is_suspended == suspended
    assert ledger_differences() == []
    assert_ledger_intact()


def at_stripe(fake_stripe):
    return sum(each["amount"] for each in fake_stripe.refunds)


def news(refund, status, *, stripe_refund_id="re_1", own=True):
    return RefundNews(
        stripe_refund_id=stripe_refund_id,
        payment_intent_id="pi_1",
        refund_id=str(refund.pk) if own else "",
        status=status,
        amount_pence=refund.amount_pence,
        failure="expired_or_canceled_card" if status == "failed" else "",
    )


def sweep(clock, after):
    clock.move_to(NOW + after, tick=False)
    return refunds.resume_refunds()


def test_given_a_paid_topup_when_refunded_then_the_wallet_pays_and_stripe_gives(
    fake_stripe, topup, give, staff
):
    refund = give(2_000)

    assert (refund.status, refund.work_due_at) == ("accepted", None)
    assert refund.debit.created_by == staff
    assert at_stripe(fake_stripe) == 2_000
    assert Alert.objects.get(kind="refund_made").context["balance_pence"] == 3_000
    assert_state(topup, balance=3_000, refunded=2_000)


def test_given_a_form_that_is_sent_twice_when_refunded_then_it_is_one_refund(
    fake_stripe, topup, give
):
    refund_id = uuid.uuid4()

    assert give(2_000, refund_id) == give(2_000, refund_id)

    assert at_stripe(fake_stripe) == 2_000
    assert_state(topup, balance=3_000, refunded=2_000)
    with pytest.raises(ledger.IdempotencyConflict):
        give(1_000, refund_id)


@pytest.mark.parametrize("amount", [0, -1, 3_001])
def test_given_more_than_is_left_when_refunded_then_both_figures_are_told(
    fake_stripe, topup, give, amount
):
    give(2_000)

    with pytest.raises(RefundNotAllowed, match=f"{amount}p cannot be refunded: 3000p"):
        give(amount)

    assert at_stripe(fake_stripe) == 2_000
    assert_state(topup, balance=3_000, refunded=2_000)


def test_given_money_that_calls_hold_when_refunded_then_it_is_refused_with_both_figures(
    fake_stripe, topup, give
):
    reserve(topup.organization, "call-1", minutes=5)

    with pytest.raises(ledger.InsufficientBalance, match="5000p needed, 4755p available"):
        give(5_000)

    assert fake_stripe.refunds == []
    assert_state(topup, balance=5_000, refunded=0)


def test_given_a_topup_that_is_not_paid_when_refunded_then_it_is_refused(fake_stripe, staff):
    topup = TopUpFactory()

    with pytest.raises(RefundNotAllowed, match="nothing was paid"):
        refunds.refund(
            refund_id=uuid.uuid4(),
            topup_id=topup.pk,
            amount_pence=1,
            reason="Asked for",
            requested_by_id=staff.pk,
        )


def test_given_a_disputed_payment_when_refunded_then_it_is_refused(fake_stripe, topup, give):
    chargebacks.disputed(
        DisputeNews(
            stripe_dispute_id="dp_1",
            payment_intent_id="pi_1",
            amount_pence=1_000,
            currency="gbp",
            reason="fraudulent",
            is_withdrawn=True,
            is_reinstated=False,
            occurred_at=NOW,
        )
    )

    with pytest.raises(RefundNotAllowed, match="disputed"):
        give(1_000)

    assert fake_stripe.refunds == []


def test_given_a_refusal_of_stripe_when_refunded_then_the_wallet_has_it_back(
    fake_stripe, topup, give
):
    fake_stripe.fail("refunds", 400, **REFUSED)

    refund = give(2_000)

    assert refund.status == "reversed"
    assert "charge_already_refunded" in refund.failure
    assert not Alert.objects.filter(kind="refund_made").exists()
    assert_state(topup, balance=5_000, refunded=0)


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("what", [500, 409, 429, 401, httpx.ReadTimeout, httpx.ConnectError])
def test_given_an_unknown_outcome_when_the_sweep_comes_then_the_refund_is_made_exactly_once(
    fake_stripe, topup, give, clock, what, done
):
    fake_stripe.fail("refunds", what, done=done, type="api_error", message="No.")

    refund = give(2_000)

    assert refund.status == "debited"
    assert_state(topup, balance=3_000, refunded=2_000)
    assert sweep(clock, timedelta(seconds=60)) == 0
    assert sweep(clock, timedelta(minutes=5)) == 1

    refund.refresh_from_db()
    assert refund.status == "accepted"
    assert at_stripe(fake_stripe) == 2_000
    assert_state(topup, balance=3_000, refunded=2_000)
    assert sweep(clock, timedelta(days=1)) == 0


def test_given_a_lost_answer_when_stripe_has_forgotten_the_key_then_its_list_is_believed(
    fake_stripe, topup, give, clock
):
    fake_stripe.fail("refunds", httpx.ReadTimeout, done=True)
    refund = give(2_000)
    fake_stripe.answers.clear()

    sweep(clock, timedelta(days=2))

    refund.refresh_from_db()
    assert refund.status == "accepted"
    assert at_stripe(fake_stripe) == 2_000
    assert fake_stripe.count("POST refunds") == 1


def test_given_an_unknown_outcome_when_stripe_then_refuses_then_the_wallet_has_it_back(
    fake_stripe, topup, give, clock
):
    fake_stripe.fail("refunds", httpx.ReadTimeout)
    refund = give(2_000)
    # The list is asked first, at the same path.
    fake_stripe.faults["refunds"] = []
    real = fake_stripe._refund
    fake_stripe._refund = lambda form: (400, {"error": REFUSED})

    sweep(clock, timedelta(minutes=5))
    fake_stripe._refund = real

    refund.refresh_from_db()
    assert refund.status == "reversed"
    assert sweep(clock, timedelta(days=1)) == 0
    assert_state(topup, balance=5_000, refunded=0)


def test_given_a_stripe_that_stays_silent_when_swept_then_it_is_asked_less_often_and_never_given_up(
    fake_stripe, topup, give, clock
):
    fake_stripe.fail("refunds", 500, times=40)
    refund = give(2_000)

    asked = [sweep(clock, timedelta(minutes=minutes)) for minutes in range(0, 24 * 60, 2)]

    assert 20 < sum(asked) < 40
    refund.refresh_from_db()
    assert (refund.status, refund.work_attempts > 20) == ("debited", True)
    assert_state(topup, balance=3_000, refunded=2_000)


def test_given_a_refund_that_the_bank_sends_back_when_told_twice_then_the_wallet_has_it_once(
    fake_stripe, topup, give
):
    refund = give(2_000)
    stripe_refund_id = refund.stripe_refund_id

    for _ in range(2):
        refunds.heard(news(refund, "failed", stripe_refund_id=stripe_refund_id))
    # Older news come late.
    refunds.heard(news(refund, "succeeded", stripe_refund_id=stripe_refund_id))

    refund.refresh_from_db()
    assert refund.status == "returned"
    assert "expired_or_canceled_card" in refund.failure
    assert_state(topup, balance=5_000, refunded=0)


def test_given_news_before_the_answer_when_a_refund_is_made_then_it_is_known(
    fake_stripe, topup, give, clock
):
    fake_stripe.fail("refunds", httpx.ReadTimeout, done=True)
    refund = give(2_000)

    refunds.heard(news(refund, "succeeded", stripe_refund_id="re_1"))

    refund.refresh_from_db()
    assert (refund.status, refund.stripe_refund_id) == ("accepted", "re_1")
    assert sweep(clock, timedelta(minutes=5)) == 0


def test_given_our_own_refund_when_the_payments_total_comes_then_nothing_is_clawed_back(
    fake_stripe, topup, give
):
    give(2_000)

    total(2_000)

    assert_state(topup, balance=3_000, refunded=2_000)


def total(refunded_pence):
    return chargebacks.refunded_at_stripe(
        RefundedTotal(
            topup_id="", payment_intent_id="pi_1", refunded_pence=refunded_pence, currency="gbp"
        )
    )


def test_given_a_refund_from_outside_when_ours_is_on_its_way_then_each_is_taken_once(
    fake_stripe, topup, give, clock
):
    """Both ask for all of it: Stripe gives it to one, and refuses the other."""
    fake_stripe.fail("refunds", httpx.ReadTimeout)
    refund = give(5_000)
    total(5_000)
    assert_state(topup, balance=0, refunded=5_000)
    fake_stripe._refund = lambda form: (400, {"error": REFUSED})

    sweep(clock, timedelta(minutes=5))

    refund.refresh_from_db()
    assert refund.status == "reversed"
    topup.refresh_from_db()
    assert topup.clawed_back_pence == 5_000
    assert_state(topup, balance=0, refunded=0, suspended=True)


def test_given_a_refund_from_outside_that_comes_back_when_told_then_staff_see_it(
    fake_stripe, topup
):
    total(1_000)

    heard = refunds.heard(
        RefundNews(
            stripe_refund_id="re_9",
            payment_intent_id="pi_1",
            refund_id="",
            status="failed",
            amount_pence=1_000,
            failure="",
        )
    )

    assert not heard.usable
    topup.refresh_from_db()
    assert "re_9" in topup.attention


def test_given_one_of_ours_that_came_back_when_another_is_made_outside_then_staff_see_it(
    fake_stripe, topup, give
):
    """Stripe's total says the same before and after: whether it was taken, nobody can tell."""
    refund = give(5_000)
    total(5_000)
    refunds.heard(news(refund, "failed", stripe_refund_id=refund.stripe_refund_id))
    assert_state(topup, balance=5_000, refunded=0)

    from_outside = replace(news(refund, "succeeded", stripe_refund_id="re_9"), refund_id="")
    heard = refunds.heard(from_outside)
    total(5_000)

    assert not heard.usable
    topup.refresh_from_db()
    assert topup.attention.endswith(heard.text)
    assert "re_9 of 5000p was made outside" in topup.attention
    assert_state(topup, balance=5_000, refunded=0)


def test_given_what_is_owed_when_a_refund_is_reversed_then_it_is_paid_first(
    fake_stripe, topup, give
):
    fake_stripe.fail("refunds", httpx.ReadTimeout)
    refund = give(5_000)
    ledger.commit_reserved_credits(
        call_id="call-1", duration_seconds=60, organization_id=topup.organization.pk
    )
    assert_state(topup, balance=0, refunded=5_000, owed=49)

    refunds.heard(news(refund, "failed"))

    assert_state(topup, balance=4_951, refunded=0)


@pytest.mark.parametrize("step", ["before Stripe", "after Stripe"])
def test_given_a_process_that_dies_between_the_steps_when_swept_then_all_of_it_is_done(
    fake_stripe, topup, give, clock, monkeypatch, step
):
    class Killed(BaseException):
        pass

    def die(*_args, **_kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(refunds, "_ask_for" if step == "before Stripe" else "_adopt", die)
        with pytest.raises(Killed):
            give(2_000)
    assert Refund.objects.get().status == "debited"
    assert_state(topup, balance=3_000, refunded=2_000)

    assert sweep(clock, timedelta(minutes=5)) == 1

    assert Refund.objects.get().status == "accepted"
    assert at_stripe(fake_stripe) == 2_000
    assert_state(topup, balance=3_000, refunded=2_000)
