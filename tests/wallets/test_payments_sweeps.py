"""Sweeps that ask Stripe end in time when it hangs, and one customer crowds out nobody."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from tests.factories import OrganizationFactory, TopUpFactory
from tests.wallets.stripe import keep_card, stripe
from tests.wallets.test_payments_topups import start
from wallets.models import PaymentProfile, TopUp
from wallets.payments import asking, cards, recharge, stripe_client, sweeping, topups
from wallets.payments.stripe_client import CheckoutSession

__all__ = ["stripe"]

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
# What each request takes that Stripe does not answer.
HANGS_SECONDS = 25


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as clock:
        yield clock


@pytest.fixture
def hanging(monkeypatch, clock):
    """Stripe takes the connection and never answers; returns what it was asked."""
    asked = []
    seconds = itertools.count(step=HANGS_SECONDS)
    monkeypatch.setattr(sweeping.time, "monotonic", lambda: next(seconds) if asked else 0)

    def hang(*details, **_named):
        asked.append(details)
        raise stripe_client.PaymentOutcomeUnknown("Stripe did not answer: ReadTimeout.")

    for name in ("retrieve_checkout_session", "retrieve_payment_intent", "charge_off_session"):
        monkeypatch.setattr(stripe_client, name, hang)
    return asked


def pages(organization, count, *, opened_at=START):
    TopUp.objects.bulk_create(
        TopUp(
            organization=organization,
            origin="checkout",
            amount_pence=2_500,
            created_at=opened_at,
            stripe_checkout_session_id=f"cs_{organization.pk}_{number}",
        )
        for number in range(count)
    )


def low_wallet():
    organization = OrganizationFactory(
        funded_pence=500,
        auto_recharge_enabled=True,
        auto_recharge_amount_pence=5_000,
        auto_recharge_threshold_pence=1_000,
        auto_recharge_monthly_cap_pence=20_000,
    )
    keep_card(organization)
    return organization


# --- Stripe hangs ---


def test_given_that_stripe_hangs_when_topups_are_asked_about_then_the_sweep_ends(hanging, clock):
    pages(OrganizationFactory(), 20)
    clock.move_to(START + timedelta(minutes=11))

    asking.ask_about_topups()

    assert len(hanging) <= 2
    # Those that it did not come to are due still.
    assert TopUp.objects.filter(asked_at=None).count() >= 18


def test_given_that_stripe_hangs_when_cards_are_kept_then_the_sweep_ends(hanging, clock):
    for number in range(20):
        topup = TopUpFactory(amount_pence=5_000, saves_card=True)
        topups.credit(
            topups.Payment(
                topup_id=str(topup.pk),
                payment_intent_id=f"pi_{number}",
                amount_pence=5_000,
                currency="gbp",
            )
        )

    cards.keep_cards()

    assert len(hanging) <= 2


def test_given_that_stripe_hangs_when_wallets_are_recharged_then_the_sweep_ends(hanging):
    for _ in range(20):
        low_wallet()

    recharge.recharge_low_wallets()

    assert len(hanging) <= 2


# --- One customer opens many pages ---


@pytest.fixture
def nobody_pays(monkeypatch):
    asked = []

    def session(session_id):
        asked.append(session_id)
        return CheckoutSession(
            id=session_id,
            url="",
            status="open",
            payment_status="unpaid",
            payment_intent_id="",
            amount_pence=2_500,
            currency="gbp",
            livemode=False,
        )

    monkeypatch.setattr(stripe_client, "retrieve_checkout_session", session)
    return asked


def test_given_many_pages_of_one_customer_then_others_are_asked_about_in_the_first_sweep(
    nobody_pays, stripe, clock
):
    # Given pages of one customer, older than everything else, and an unknown recharge of another
    pages(OrganizationFactory(), 300, opened_at=START - timedelta(hours=2))
    other = OrganizationFactory()
    pages(other, 1)
    low = low_wallet()

    def lost(_intent):
        raise stripe_client.PaymentOutcomeUnknown("Stripe did not answer: ReadTimeout.")

    stripe.answers = lost
    recharge.recharge(low.pk)

    # When a sweep runs once both are due
    clock.move_to(START + timedelta(minutes=11))
    asking.ask_about_topups()

    # Then both were asked about
    assert TopUp.objects.get(organization=low).status == "paid"
    assert TopUp.objects.get(organization=other).asked_at is not None


def test_given_an_organizations_own_pages_then_its_recharge_is_asked_about_first(
    nobody_pays, stripe, clock, monkeypatch
):
    low = low_wallet()
    pages(low, 300, opened_at=START - timedelta(hours=2))
    monkeypatch.setattr(asking, "TOPUPS_PER_SWEEP", 1)
    recharge.recharge(low.pk)

    clock.move_to(START + timedelta(minutes=11))
    asking.ask_about_topups()

    assert nobody_pays == []
    assert TopUp.objects.get(origin="auto_recharge").status == "paid"


def test_given_many_pages_then_each_has_its_turn(nobody_pays, clock):
    pages(OrganizationFactory(), 120)
    for minute in range(11, 14):
        clock.move_to(START + timedelta(minutes=minute))
        asking.ask_about_topups()

    assert len(nobody_pays) == len(set(nobody_pays)) == 120


def test_given_fifty_open_pages_then_another_is_refused_until_one_is_done_with(fake_stripe, clock):
    organization = OrganizationFactory()
    pages(organization, topups.MAX_OPEN_CHECKOUTS)

    with pytest.raises(topups.TooManyOpen, match="pay on one of their pages"):
        start(organization)
    assert fake_stripe.asked == []
    start(OrganizationFactory())

    topups.expired(str(TopUp.objects.filter(organization=organization).first().pk))
    assert start(organization)
    assert PaymentProfile.objects.filter(organization=organization).exists()
    assert TopUp.objects.filter(created_at=timezone.now()).count() >= 2
