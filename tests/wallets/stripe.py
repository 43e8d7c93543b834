"""Stripe as the code that asks it sees it: what was charged, and what is answered next."""

import itertools
import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from django.utils import timezone

from wallets.models import PaymentProfile, TopUp
from wallets.payments import stripe_client
from wallets.payments.facts import Payment
from wallets.payments.stripe_client import PaymentIntent

_numbers = itertools.count(1)


class Stripe:
    """Keeps the payments that it was asked for; `answers` decides what becomes of each."""

    def __init__(self) -> None:
        self.intents: list[PaymentIntent] = []
        self.cancelled: list[str] = []
        self.answers: Callable[[PaymentIntent], PaymentIntent] = lambda intent: intent
        self._one_at_a_time = threading.Lock()

    def charge(self, *, topup_id, organization_id, customer_id, payment_method_id, amount_pence):
        with self._one_at_a_time:
            intent = PaymentIntent(
                id=f"pi_{next(_numbers)}",
                status="succeeded",
                amount_pence=amount_pence,
                refunded_pence=0,
                currency="gbp",
                customer_id=customer_id,
                payment_method_id=payment_method_id,
                topup_id=str(topup_id),
                organization_id=str(organization_id),
                failure_code="",
                failure="",
                livemode=False,
                created_at=timezone.now(),
            )
            self.intents.append(intent)
        return self.answers(intent)

    def listed(self, customer_id: str, *, since: datetime) -> list[PaymentIntent]:
        return [
            intent
            for intent in reversed(self.intents)
            if intent.customer_id == customer_id and intent.created_at >= since
        ]

    def retrieve(self, payment_intent_id: str) -> PaymentIntent:
        return next(intent for intent in self.intents if intent.id == payment_intent_id)


@pytest.fixture
def stripe(monkeypatch):
    stripe = Stripe()
    monkeypatch.setattr(stripe_client, "charge_off_session", stripe.charge)
    monkeypatch.setattr(stripe_client, "list_payment_intents", stripe.listed)
    monkeypatch.setattr(stripe_client, "retrieve_payment_intent", stripe.retrieve)
    monkeypatch.setattr(stripe_client, "cancel_payment_intent", stripe.cancelled.append)
    return stripe


def keep_card(organization):
    """As if a top-up had been paid with consent to keep the card."""
    PaymentProfile.objects.create(
        organization=organization,
        stripe_customer_id=f"cus_{organization.pk}",
        stripe_payment_method_id=f"pm_{organization.pk}",
        card_brand="visa",
        card_last4="4242",
        card_saved_at=timezone.now(),
    )


def payment_of(topup: TopUp, payment_intent_id: str = "") -> Payment:
    """What Stripe's webhook says of a top-up that was paid."""
    return Payment(
        topup_id=str(topup.pk),
        payment_intent_id=payment_intent_id or str(topup.stripe_payment_intent_id),
        amount_pence=topup.amount_pence,
        currency="gbp",
    )
