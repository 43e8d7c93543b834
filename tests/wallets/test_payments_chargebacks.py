"""What Stripe takes back without us is taken from the wallet once, and given back if it returns."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.factories import OrganizationFactory, TopUpFactory
from tests.wallets.invariants import assert_ledger_intact
from tests.wallets.steps import buy, reserve
from wallets import ledger
from wallets.models import Alert, CreditTransaction, Dispute
from wallets.payments import chargebacks, finding, topups
from wallets.payments.facts import DisputeNews, Payment, PaymentNotKnown, RefundedTotal
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DISPUTE = DisputeNews(
    stripe_dispute_id="dp_1",
    payment_intent_id="pi_1",
    amount_pence=5_000,
    currency="gbp",
    reason="fraudulent",
    is_withdrawn=True,
    is_reinstated=False,
    occurred_at=NOW,
)
REINSTATED = replace(DISPUTE, is_withdrawn=False, is_reinstated=True)
INQUIRY = replace(DISPUTE, is_withdrawn=False)


def pay(topup, intent="pi_1"):
    topups.credit(
        Payment(
            topup_id=str(topup.pk),
            payment_intent_id=intent,
            amount_pence=topup.amount_pence,
            currency="gbp",
        )
    )


@pytest.fixture
def topup():
    topup = TopUpFactory(organization=OrganizationFactory(), amount_pence=5_000)
    pay(topup)
    return topup


def total(pence, *, topup_id="", currency="gbp"):
    return chargebacks.refunded_at_stripe(
        RefundedTotal(
            topup_id=str(topup_id),
            payment_intent_id="pi_1",
            refunded_pence=pence,
            currency=currency,
        )
    )


def assert_wallet(topup, *, balance, owed=0, suspended=True):
    organization = topup.organization
    organization.refresh_from_db()
    assert (organization.balance_pence, organization.owed_pence) == (balance, owed)
    assert organization.is_suspended == suspended
    assert ledger_differences() == []
    assert_ledger_intact()


# --- Refunds from outside ---


def test_given_cumulative_refunds_when_told_in_any_order_and_twice_then_the_total_is_taken(topup):
    for pence in (1_000, 1_000, 3_000, 2_000, 3_000):
        total(pence)

    topup.refresh_from_db()
    assert (topup.stripe_refunded_pence, topup.clawed_back_pence) == (3_000, 3_000)
    assert_wallet(topup, balance=2_000)
    told = Alert.objects.filter(kind="payment_clawed_back").order_by("created_at")
    assert [alert.context["amount_pence"] for alert in told] == [1_000, 2_000]


def test_given_a_refund_before_the_payment_when_that_is_credited_then_it_is_taken():
    topup = TopUpFactory()

    total(1_000, topup_id=topup.pk)
    assert_wallet(topup, balance=0, suspended=False)
    pay(topup)

    assert_wallet(topup, balance=4_000)


def test_given_a_wallet_that_has_spent_it_when_refunded_then_the_rest_is_owed(topup):
    buy(topup.organization, 4_000)

    total(5_000)

    assert_wallet(topup, balance=0, owed=4_000)


def test_given_money_that_calls_hold_when_refunded_then_it_is_not_taken(topup):
    reserve(topup.organization, "call-1", minutes=5)

    total(5_000)

    assert_wallet(topup, balance=245, owed=245)


@pytest.mark.parametrize(("pence", "currency"), [(5_001, "gbp"), (1_000, "usd")])
def test_given_what_cannot_be_believed_when_told_then_staff_see_it(topup, pence, currency):
    heard = total(pence, currency=currency)

    assert not heard.usable
    topup.refresh_from_db()
    assert f"{pence} {currency}" in topup.attention
    assert_wallet(topup, balance=5_000, suspended=False)


# --- Disputes ---


def test_given_a_dispute_when_told_twice_then_it_is_taken_once_and_told(topup):
    for _ in range(2):
        chargebacks.disputed(DISPUTE)

    dispute = Dispute.objects.get()
    assert (dispute.amount_pence, dispute.reason, dispute.withdrawn_at) == (
        5_000,
        "fraudulent",
        NOW,
    )
    assert dispute.claw_back.amount_pence == 5_000
    alert = Alert.objects.get(kind="payment_clawed_back")
    assert (alert.context["amount_pence"], alert.context["balance_pence"]) == (5_000, 0)
    assert_wallet(topup, balance=0)


def test_given_an_inquiry_when_told_then_nothing_is_taken_until_the_money_is_gone(topup):
    chargebacks.disputed(INQUIRY)
    assert_wallet(topup, balance=5_000, suspended=False)

    chargebacks.disputed(DISPUTE)

    assert_wallet(topup, balance=0)


def test_given_a_dispute_that_is_won_when_told_twice_then_the_money_is_back_and_nothing_owed(topup):
    buy(topup.organization, 4_000)
    chargebacks.disputed(DISPUTE)
    assert_wallet(topup, balance=0, owed=4_000)

    for _ in range(2):
        chargebacks.disputed(REINSTATED)

    # Staff decide when it may spend again.
    assert_wallet(topup, balance=1_000)
    assert Dispute.objects.get().is_given_back


def test_given_what_was_recovered_since_when_a_dispute_is_won_then_that_is_credited(topup):
    buy(topup.organization, 4_000)
    chargebacks.disputed(DISPUTE)
    other = TopUpFactory(organization=topup.organization, amount_pence=3_000)
    pay(other, "pi_2")
    assert_wallet(topup, balance=0, owed=1_000)

    chargebacks.disputed(REINSTATED)

    # Of both payments, 4,000 was spent.
    assert_wallet(topup, balance=4_000)


def test_given_money_that_is_back_before_it_was_gone_when_told_then_nothing_is_taken_in_the_end(
    topup,
):
    chargebacks.disputed(REINSTATED)
    assert_wallet(topup, balance=5_000, suspended=False)

    chargebacks.disputed(DISPUTE)
    chargebacks.disputed(INQUIRY)

    assert_wallet(topup, balance=5_000)


def test_given_other_debts_when_a_dispute_is_won_then_what_is_back_pays_them(topup):
    """In whatever order the two came, the wallet ends the same."""
    chargebacks.disputed(DISPUTE)
    ledger.commit_reserved_credits(
        call_id="call-1", duration_seconds=60, organization_id=topup.organization.pk
    )
    assert_wallet(topup, balance=0, owed=49)

    chargebacks.disputed(REINSTATED)

    assert_wallet(topup, balance=4_951)


def test_given_no_recovery_by_itself_when_a_dispute_is_won_then_other_debts_stay(topup):
    topup.organization.refresh_from_db()
    topup.organization.recovers_owed_from_topups = False
    topup.organization.save()
    chargebacks.disputed(DISPUTE)
    ledger.commit_reserved_credits(
        call_id="call-1", duration_seconds=60, organization_id=topup.organization.pk
    )

    chargebacks.disputed(REINSTATED)

    assert_wallet(topup, balance=5_000, owed=49)


def test_given_what_a_call_owes_when_a_dispute_is_won_then_it_is_paid_and_not_given_up(topup):
    # Given a dispute that left 4,000p owed, 3,000p of it recovered, and a call that owes 49p
    buy(topup.organization, 4_000)
    chargebacks.disputed(DISPUTE)
    pay(TopUpFactory(organization=topup.organization, amount_pence=3_000), "pi_2")
    ledger.commit_reserved_credits(
        call_id="call-1", duration_seconds=60, organization_id=topup.organization.pk
    )
    assert_wallet(topup, balance=0, owed=1_049)

    chargebacks.disputed(REINSTATED)

    given_up = CreditTransaction.objects.get(type="write_off")
    assert given_up.owed_change_pence == -1_000
    assert_wallet(topup, balance=3_951)


def test_given_debts_when_a_dispute_is_won_then_nobody_is_told_of_a_wallet_that_was_low_between(
    topup,
):
    chargebacks.disputed(DISPUTE)
    ledger.commit_reserved_credits(
        call_id="call-1", duration_seconds=92 * 60, organization_id=topup.organization.pk
    )
    assert_wallet(topup, balance=0, owed=4_508)
    before = set(Alert.objects.values_list("pk", flat=True))

    chargebacks.disputed(REINSTATED)

    # As after a top-up: it was empty, and is low now, which is no crossing.
    assert_wallet(topup, balance=492)
    assert not Alert.objects.exclude(pk__in=before).exists()


def test_given_a_payment_that_is_not_known_yet_when_disputed_then_it_is_to_be_told_again():
    topup = TopUpFactory()

    with pytest.raises(PaymentNotKnown):
        chargebacks.disputed(DISPUTE)

    # A refund names the top-up; by its payment the dispute is found then, and waits for the credit.
    total(1, topup_id=topup.pk)
    chargebacks.disputed(DISPUTE)
    assert not CreditTransaction.objects.exists()
    pay(topup)
    assert_wallet(topup, balance=0, owed=1)


@pytest.mark.parametrize(
    "wrong", [{"currency": "usd"}, {"amount_pence": 4_000}], ids=["currency", "amount"]
)
def test_given_a_dispute_that_contradicts_itself_when_told_then_staff_see_it(topup, wrong):
    chargebacks.disputed(DISPUTE)

    heard = chargebacks.disputed(replace(REINSTATED, **wrong))

    assert not heard.usable
    topup.refresh_from_db()
    assert topup.attention == heard.text
    assert_wallet(topup, balance=0)


# --- The check of the ledger ---


@pytest.mark.parametrize(
    "change",
    [
        {"amount_pence": 4_999, "clawed_back_pence": 1_000},
        {"clawed_back_pence": 999},
        {"refunded_pence": 1},
        {"stripe_payment_intent_id": "pi_other"},
    ],
)
def test_given_a_topup_that_differs_from_its_entries_when_checked_then_it_is_found(topup, change):
    total(1_000)
    assert ledger_differences() == []

    type(topup).objects.filter(pk=topup.pk).update(**change)

    (found,) = ledger_differences()
    assert found.figure == "number of payments that differ from their entries"
    assert (found.recorded, found.recomputed) == (1, 0)


def test_given_a_dispute_that_differs_from_its_entry_when_checked_then_it_is_found(topup):
    chargebacks.disputed(DISPUTE)

    Dispute.objects.update(amount_pence=4_999)

    assert [found.organization_id for found in ledger_differences()] == [topup.organization.pk]


# --- A second payment of one top-up ---


def refund_of(intent, topup, pence):
    return chargebacks.refunded_at_stripe(
        RefundedTotal(
            topup_id=str(topup.pk), payment_intent_id=intent, refunded_pence=pence, currency="gbp"
        )
    )


def test_given_a_second_payment_when_staff_refund_it_then_the_good_one_stays(topup):
    pay(topup, "pi_2")
    topup.refresh_from_db()
    assert "refund it at Stripe" in topup.attention

    heard = refund_of("pi_2", topup, 5_000)

    assert "not credited" in heard.text
    topup.refresh_from_db()
    assert topup.attention.endswith(heard.text)
    assert (topup.stripe_refunded_pence, topup.clawed_back_pence) == (0, 0)
    assert_wallet(topup, balance=5_000, suspended=False)


def test_given_a_refund_of_another_payment_before_the_credit_then_the_credit_stays_whole():
    topup = TopUpFactory(amount_pence=5_000)
    refund_of("pi_2", topup, 5_000)

    # Which of the two is credited, nobody knows yet.
    with pytest.raises(PaymentNotKnown):
        refund_of("pi_1", topup, 1_000)
    pay(topup, "pi_1")
    assert_wallet(topup, balance=5_000, suspended=False)

    refund_of("pi_1", topup, 1_000)
    assert_wallet(topup, balance=4_000)


# --- More than was paid ---


def test_given_a_refund_and_a_dispute_of_all_of_it_when_both_are_taken_then_staff_see_it(topup):
    total(5_000)
    topup.refresh_from_db()
    assert topup.attention == ""

    chargebacks.disputed(DISPUTE)

    topup.refresh_from_db()
    assert topup.attention.startswith("10000p were taken back of this payment of 5000p")
    assert_wallet(topup, balance=0, owed=5_000)


def test_given_many_sentences_for_staff_then_each_is_kept_in_full(topup):
    sentences = [f"The refund re_1Qabcdefghijklmnopqrstuvwx{n} came back. " * 2 for n in range(20)]
    for sentence in sentences:
        finding.look_at(topup, sentence.strip())

    topup.refresh_from_db()
    assert all(sentence.strip() in topup.attention for sentence in sentences)
