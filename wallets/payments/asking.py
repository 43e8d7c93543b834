"""Asking Stripe about top-ups that no webhook told the end of."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import structlog
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from wallets.models import PaymentProfile, TopUp
from wallets.payments import recharge, stripe_client, topups
from wallets.payments.facts import Failure, Payment
from wallets.payments.sweeping import in_time

logger = structlog.get_logger(__name__)

# Webhooks come first: they take seconds. For a page, somebody has to pay as well.
FIRST_ASKED_AFTER = timedelta(minutes=10)
ASKED_AGAIN_AFTER = timedelta(hours=1)
RECHARGE_FIRST_ASKED_AFTER = timedelta(minutes=2)
RECHARGE_ASKED_AGAIN_AFTER = timedelta(minutes=5)
# Longer than a request to Stripe can be on its way.
RECHARGE_NEVER_BEGUN_AFTER = timedelta(minutes=10)
_CLOCKS_DIFFER = timedelta(hours=1)
# Stripe's pages to pay on are open for a day.
NEVER_BEGUN_AFTER = timedelta(hours=25)
# What Stripe has never heard of after this is not ahead of its own lists.
GONE_AFTER = timedelta(hours=1)
TOPUPS_PER_SWEEP = 50


def ask_about_topups() -> int:
    """Follow what Stripe says of top-ups that are still open; returns how many."""
    now = timezone.now()
    checkouts = Q(
        Q(asked_at=None) | Q(asked_at__lte=now - ASKED_AGAIN_AFTER),
        origin=TopUp.Origin.CHECKOUT,
        created_at__lte=now - FIRST_ASKED_AFTER,
    )
    recharges = Q(
        Q(asked_at=None) | Q(asked_at__lte=now - RECHARGE_ASKED_AGAIN_AFTER),
        origin=TopUp.Origin.AUTO_RECHARGE,
        created_at__lte=now - RECHARGE_FIRST_ASKED_AFTER,
    )
    due = TopUp.objects.filter(checkouts | recharges, status__in=TopUp.IN_FLIGHT)
    count = 0
    for topup in in_time(_one_of_each_organization_first(due)):
        if TopUp.objects.filter(pk=topup.pk, asked_at=topup.asked_at).update(asked_at=now):
            _ask_if_possible(topup)
            count += 1
    return count


def _one_of_each_organization_first(due: QuerySet[TopUp]) -> Iterable[TopUp]:
    """An organization with many open pages keeps nobody else waiting, nor its own recharge."""
    longest_ago = F("asked_at").asc(nulls_first=True)
    # "auto_recharge" comes before "checkout".
    order: list[Any] = ["origin", longest_ago, "created_at"]
    turn = Window(RowNumber(), partition_by="organization", order_by=order)
    return due.annotate(turn=turn).order_by("turn", *order)[:TOPUPS_PER_SWEEP]


def _ask_if_possible(topup: TopUp) -> None:
    try:
        ask(topup)
    except stripe_client.PaymentRefused as refusal:
        logger.warning("topup_not_known", topup_id=str(topup.pk), reason=str(refusal))
        is_old = timezone.now() - topup.created_at > GONE_AFTER
        if refusal.code == stripe_client.MISSING and is_old:
            topups.lost_at_stripe(topup)
    except stripe_client.PaymentError as error:
        logger.warning("topup_not_known", topup_id=str(topup.pk), reason=str(error))


def ask(topup: TopUp) -> None:
    """Ask about one. Raises PaymentError."""
    if topup.stripe_payment_intent_id:
        follow(topup, stripe_client.retrieve_payment_intent(topup.stripe_payment_intent_id))
        return
    if topup.origin == TopUp.Origin.AUTO_RECHARGE:
        _ask_about_recharge(topup)
        return
    if not topup.stripe_checkout_session_id:
        # The process died before it knew the page, so nobody was sent there.
        if timezone.now() - topup.created_at > NEVER_BEGUN_AFTER:
            topups.expired(str(topup.pk))
        return
    session = stripe_client.retrieve_checkout_session(topup.stripe_checkout_session_id)
    if session.status == "expired":
        topups.expired(str(topup.pk))
    elif session.payment_intent_id:
        follow(topup, stripe_client.retrieve_payment_intent(session.payment_intent_id))


def _ask_about_recharge(topup: TopUp) -> None:
    """Ask about a recharge whose outcome nobody heard: the process died, or Stripe's answer did."""
    profile = PaymentProfile.objects.get(pk=topup.organization_id)
    found = stripe_client.list_payment_intents(
        str(profile.stripe_customer_id), since=topup.created_at - _CLOCKS_DIFFER
    )
    intent = next((each for each in found if each.topup_id == str(topup.pk)), None)
    if intent is not None:
        follow(topup, intent)
    elif timezone.now() - topup.created_at > RECHARGE_NEVER_BEGUN_AFTER:
        topups.did_not_start(topup, "Stripe was never asked for the payment.")


def follow(topup: TopUp, intent: stripe_client.PaymentIntent) -> None:
    """Do what the webhook of a payment in this state would have done."""
    payment = Payment(
        topup_id=intent.topup_id,
        payment_intent_id=intent.id,
        amount_pence=intent.amount_pence,
        currency=intent.currency,
    )
    if intent.status == "succeeded":
        topups.credit(payment)
    elif topup.origin == TopUp.Origin.AUTO_RECHARGE:
        recharge.follow(topup, intent)
    elif intent.status == "processing":
        topups.processing(payment)
    elif intent.status == "canceled" or (
        # A page that is paid by such a method is done with; another card is not asked for.
        intent.status == "requires_payment_method" and topup.status == TopUp.Status.PROCESSING
    ):
        topups.failed(
            Failure(
                topup_id=str(topup.pk),
                payment_intent_id=intent.id,
                code=intent.failure_code or intent.status,
                message=intent.failure or "The payment was not completed.",
                is_final=True,
            )
        )
