"""The card that a customer agreed to keep for automatic recharges.

Stripe holds the card. We keep its id there, and its brand and last digits to show.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from wallets.locks import lock_organization
from wallets.models import PaymentProfile, TopUp
from wallets.payments import stripe_client
from wallets.payments.stripe_client import PaymentMethod
from wallets.payments.sweeping import in_time

logger = structlog.get_logger(__name__)

PAUSE = timedelta(minutes=5)
# Stripe has known since the payment which card it was; after this, nobody waits for it.
GIVEN_UP_AFTER = timedelta(days=7)
CARDS_PER_SWEEP = 50

_NO_CARD = {
    "stripe_payment_method_id": "",
    "card_brand": "",
    "card_last4": "",
    "card_saved_at": None,
}


def keep_cards() -> int:
    """Keep the cards of top-ups that were paid with consent to it; returns how many were asked for.

    Each top-up gives its card once, so a card that was forgotten since does not come back.
    """
    now = timezone.now()
    due = TopUp.objects.filter(card_due_at__lte=now).order_by("card_due_at")[:CARDS_PER_SWEEP]
    count = 0
    for topup in in_time(due):
        if TopUp.objects.filter(pk=topup.pk, card_due_at=topup.card_due_at).update(
            card_due_at=now + PAUSE
        ):
            _ask_for_card(topup, now)
            count += 1
    return count


def forget_card(organization_id: UUID) -> None:
    """Forget the kept card, here and at Stripe. Recharges are off without one.

    Raises OrganizationNotFound, PaymentError: then it is forgotten here, and not yet at Stripe.
    """
    with transaction.atomic():
        organization = lock_organization(organization_id)
        TopUp.objects.filter(organization=organization, card_due_at__isnull=False).update(
            card_due_at=None
        )
        profile = PaymentProfile.objects.filter(pk=organization_id).first()
        if profile is None or not profile.has_payment_method:
            return
        method_id = profile.stripe_payment_method_id
        PaymentProfile.objects.filter(pk=organization_id).update(**_NO_CARD)
        organization.auto_recharge_enabled = False
        organization.save(update_fields=["auto_recharge_enabled"])
    stripe_client.detach_payment_method(method_id)


def replace_customer(organization_id: UUID, deleted_id: str) -> str:
    """A new customer instead of one that was deleted at Stripe, whose card went with it.

    Raises OrganizationNotFound, PaymentError.
    """
    customer_id = stripe_client.create_customer(organization_id, instead_of=deleted_id)
    with transaction.atomic():
        organization = lock_organization(organization_id)
        if PaymentProfile.objects.filter(pk=organization_id, stripe_customer_id=deleted_id).update(
            stripe_customer_id=customer_id, **_NO_CARD
        ):
            organization.auto_recharge_enabled = False
            organization.save(update_fields=["auto_recharge_enabled"])
    # Whoever asked at the same time may have been first.
    return str(PaymentProfile.objects.get(pk=organization_id).stripe_customer_id)


def _ask_for_card(topup: TopUp, now: datetime) -> None:
    try:
        intent = stripe_client.retrieve_payment_intent(str(topup.stripe_payment_intent_id))
        method = (
            stripe_client.retrieve_payment_method(intent.payment_method_id)
            if intent.payment_method_id
            else None
        )
    except stripe_client.PaymentRefused as refusal:
        logger.warning("card_not_kept", topup_id=str(topup.pk), reason=str(refusal))
        method = None
    except stripe_client.PaymentError as error:
        logger.warning("card_not_known", topup_id=str(topup.pk), reason=str(error))
        if topup.finished_at is None or now - topup.finished_at < GIVEN_UP_AFTER:
            return
        method = None
    _keep(topup, method)


@transaction.atomic
def _keep(topup: TopUp, method: PaymentMethod | None) -> None:
    """Keep the card, unless it was forgotten meanwhile or is older than the one that is kept."""
    lock_organization(topup.organization_id)
    if not TopUp.objects.filter(pk=topup.pk, card_due_at__isnull=False).update(card_due_at=None):
        return
    profile = PaymentProfile.objects.get(pk=topup.organization_id)
    if method is None or method.type != "card":
        return
    # Only what belongs to the customer can be charged while nobody is there.
    if method.customer_id != profile.stripe_customer_id:
        return
    if profile.card_saved_at and topup.finished_at and profile.card_saved_at > topup.finished_at:
        return
    if profile.stripe_payment_method_id != method.id:
        # What was declined was another card.
        profile.declines_in_a_row = 0
        profile.recharge_not_before = None
    profile.stripe_payment_method_id = method.id
    profile.card_brand = method.brand
    profile.card_last4 = method.last4
    profile.card_saved_at = topup.finished_at
    profile.save(
        update_fields=[
            "stripe_payment_method_id",
            "card_brand",
            "card_last4",
            "card_saved_at",
            "declines_in_a_row",
            "recharge_not_before",
        ]
    )
