"""The card that a customer agreed to keep: kept once for each top-up, and forgotten."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.factories import OrganizationFactory, TopUpFactory
from wallets.models import Organization, PaymentProfile, TopUp
from wallets.payments import cards, topups
from wallets.payments.facts import Payment

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def organization():
    organization = OrganizationFactory()
    PaymentProfile.objects.create(organization=organization, stripe_customer_id="cus_1")
    return organization


@pytest.fixture
def paid(fake_stripe, organization):
    def paid(number=1, *, saves_card=True, customer="cus_1", kind="card"):
        topup = TopUpFactory(organization=organization, saves_card=saves_card)
        fake_stripe.add_intent(f"pi_{number}", payment_method=f"pm_{number}")
        fake_stripe.add_card(f"pm_{number}", customer=customer, kind=kind)
        topups.credit(
            Payment(
                topup_id=str(topup.pk),
                payment_intent_id=f"pi_{number}",
                amount_pence=5_000,
                currency="gbp",
            )
        )
        return topup

    return paid


def profile():
    return PaymentProfile.objects.get()


def test_given_consent_when_paid_then_the_card_is_kept(fake_stripe, paid):
    paid()

    assert cards.keep_cards() == 1

    kept = profile()
    assert (kept.stripe_payment_method_id, kept.card_brand, kept.card_last4) == (
        "pm_1",
        "visa",
        "4242",
    )
    assert (kept.has_payment_method, kept.card_saved_at) == (True, NOW)
    assert cards.keep_cards() == 0


@pytest.mark.parametrize(
    "without",
    [{"saves_card": False}, {"customer": None}, {"customer": "cus_2"}, {"kind": "bacs_debit"}],
)
def test_given_no_consent_or_no_card_of_the_customer_when_paid_then_none_is_kept(
    fake_stripe, paid, without
):
    paid(**without)

    cards.keep_cards()

    assert not profile().has_payment_method
    assert cards.keep_cards() == 0


def test_given_two_cards_when_the_older_is_asked_for_last_then_the_newer_is_kept(
    fake_stripe, paid, clock
):
    older = paid(1)
    clock.move_to(NOW + timedelta(minutes=1))
    paid(2)
    TopUp.objects.filter(pk=older.pk).update(card_due_at=NOW + timedelta(minutes=2))
    cards.keep_cards()
    clock.move_to(NOW + timedelta(minutes=3))

    assert cards.keep_cards() == 1

    assert profile().stripe_payment_method_id == "pm_2"


def test_given_declines_of_the_old_card_when_another_is_kept_then_their_pause_is_over(
    fake_stripe, paid, clock
):
    paid()
    cards.keep_cards()
    declined = {"declines_in_a_row": 2, "recharge_not_before": NOW + timedelta(hours=6)}
    PaymentProfile.objects.update(**declined)
    clock.shift(timedelta(hours=1))

    paid(2)
    cards.keep_cards()

    assert profile().stripe_payment_method_id == "pm_2"
    assert (profile().declines_in_a_row, profile().recharge_not_before) == (0, None)


def test_given_a_stripe_that_fails_when_asked_then_the_card_is_kept_later(fake_stripe, paid, clock):
    paid()
    fake_stripe.fail("payment_methods/pm_1", 500)

    cards.keep_cards()
    assert not profile().has_payment_method
    assert cards.keep_cards() == 0
    clock.move_to(NOW + timedelta(minutes=6))
    cards.keep_cards()

    assert profile().has_payment_method


def test_given_a_card_that_stripe_does_not_know_when_asked_then_it_is_given_up(
    fake_stripe, paid, clock
):
    paid()
    del fake_stripe.methods["pm_1"]

    cards.keep_cards()
    clock.move_to(NOW + timedelta(days=1))

    assert cards.keep_cards() == 0


def test_given_a_kept_card_when_forgotten_then_recharges_are_off_and_it_does_not_come_back(
    fake_stripe, paid, organization, clock
):
    topup = paid()
    cards.keep_cards()
    Organization.objects.update(auto_recharge_enabled=True)

    cards.forget_card(organization.pk)
    topups.credit(
        Payment(
            topup_id=str(topup.pk), payment_intent_id="pi_1", amount_pence=5_000, currency="gbp"
        )
    )
    clock.move_to(NOW + timedelta(days=1))
    cards.keep_cards()

    assert not profile().has_payment_method
    assert (profile().card_last4, profile().card_saved_at) == ("", None)
    organization.refresh_from_db()
    assert not organization.auto_recharge_enabled
    assert fake_stripe.count("POST payment_methods/pm_1/detach") == 1


def test_given_a_card_that_is_being_asked_for_when_forgotten_then_it_is_not_kept(
    fake_stripe, paid, organization, monkeypatch
):
    paid()
    real = cards.stripe_client.retrieve_payment_method

    def forgotten_meanwhile(method_id):
        cards.forget_card(organization.pk)
        return real(method_id)

    monkeypatch.setattr(cards.stripe_client, "retrieve_payment_method", forgotten_meanwhile)

    cards.keep_cards()

    assert not profile().has_payment_method
