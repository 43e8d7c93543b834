"""Automatic recharges: a wallet that runs low is topped up by the card that its owner let us keep.

All guards are looked at under the organization's lock, where the attempt is written down; only then
Stripe is asked. The payment is credited like any other top-up, and a failure is heard like one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from wallets import alerts
from wallets.locks import lock_organization
from wallets.models import Organization, PaymentProfile, TopUp
from wallets.payments import stripe_client, topups
from wallets.payments.declines import AUTHENTICATION_REQUIRED
from wallets.payments.facts import Failure, Payment
from wallets.payments.sweeping import in_time

logger = structlog.get_logger(__name__)

# How long after an attempt none follows, whatever became of it.
COOLDOWN = timedelta(minutes=5)
# How long nothing is tried after Stripe could not be asked at all.
UNAVAILABLE_PAUSE = timedelta(minutes=15)
WALLETS_PER_SWEEP = 50
# Well before the sweep that finds nothing at Stripe takes it that nobody will ask any more.
TOO_LATE_TO_ASK = timedelta(minutes=2)

_RECHARGE = TopUp.Origin.AUTO_RECHARGE


class Guard(StrEnum):
    """Why no recharge was started."""

    OFF = "automatic recharge is off"
    SUSPENDED = "the organization is suspended"
    NO_CARD = "no card is kept"
    ENOUGH = "the wallet is not below its threshold"
    IN_FLIGHT = "a recharge is under way"
    TOO_SOON = "the last attempt was too recent"
    MONTHLY_CAP = "the month's limit is reached"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A recharge that was written down, and the card that it is charged to."""

    topup: TopUp
    customer_id: str
    payment_method_id: str


def recharge(organization_id: UUID) -> Guard | None:
    """Start a recharge, unless a guard says no; returns that guard.

    What becomes of it Stripe tells: nothing is credited here. Raises OrganizationNotFound.
    """
    attempt = _begin(organization_id)
    if isinstance(attempt, Guard):
        return attempt
    _charge(attempt)
    return None


def recharge_low_wallets() -> int:
    """Start the recharges that no commit started; returns how many were."""
    return sum(recharge(organization_id) is None for organization_id in in_time(_low_wallets()))


def _low_wallets() -> list[UUID]:
    """Organizations that look as if they were to be recharged; nothing is locked."""
    now = timezone.now()
    topups_of = TopUp.objects.filter(organization=OuterRef("pk"))
    recharges = topups_of.filter(origin=_RECHARGE)
    coming = topups_of.filter(status=TopUp.Status.PROCESSING)
    return list(
        Organization.objects.annotate(
            coming_pence=_sum_of(coming),
            this_month_pence=_sum_of(_of_this_month(recharges, now)),
        )
        .filter(
            ~Exists(recharges.filter(status__in=TopUp.IN_FLIGHT)),
            ~Exists(recharges.filter(created_at__gt=now - COOLDOWN)),
            Q(payment_profile__recharge_not_before=None)
            | Q(payment_profile__recharge_not_before__lte=now),
            ~Q(payment_profile__stripe_payment_method_id=""),
            auto_recharge_enabled=True,
            status=Organization.Status.ACTIVE,
            auto_recharge_monthly_cap_pence__gte=F("this_month_pence")
            + F("auto_recharge_amount_pence"),
            balance_pence__lt=F("reserved_pence")
            + F("auto_recharge_threshold_pence")
            - F("coming_pence"),
        )
        .values_list("pk", flat=True)[:WALLETS_PER_SWEEP]
    )


def _sum_of(topups_of_organization: QuerySet[TopUp]) -> Coalesce:
    grouped = topups_of_organization.order_by().values("organization")
    return Coalesce(Subquery(grouped.values(sum=Sum("amount_pence"))), Value(0))


def _of_this_month(recharges: QuerySet[TopUp], now: datetime) -> QuerySet[TopUp]:
    """Those of this month of UTC that were paid: what is in flight counts too."""
    return recharges.filter(
        created_at__gte=_first_of_month(now), status__in=[*TopUp.IN_FLIGHT, TopUp.Status.PAID]
    )


def _first_of_month(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


@transaction.atomic
def _begin(organization_id: UUID) -> Attempt | Guard:
    organization = lock_organization(organization_id)
    profile = PaymentProfile.objects.filter(pk=organization_id).first()
    now = timezone.now()
    if not organization.auto_recharge_enabled:
        return Guard.OFF
    if organization.is_suspended:
        return Guard.SUSPENDED
    if profile is None or not profile.has_payment_method:
        return Guard.NO_CARD
    in_flight = TopUp.objects.filter(organization=organization, status__in=TopUp.IN_FLIGHT)
    if in_flight.filter(origin=_RECHARGE).exists():
        return Guard.IN_FLIGHT
    # A page that nobody has paid on is no money; a payment that takes days is.
    coming = in_flight.filter(status=TopUp.Status.PROCESSING).values_list("amount_pence", flat=True)
    expected_pence = organization.effective_balance_pence + sum(coming)
    if expected_pence >= organization.auto_recharge_threshold_pence:
        return Guard.ENOUGH
    recharges = TopUp.objects.filter(organization=organization, origin=_RECHARGE)
    if recharges.filter(created_at__gt=now - COOLDOWN).exists():
        return Guard.TOO_SOON
    if profile.recharge_not_before is not None and profile.recharge_not_before > now:
        return Guard.TOO_SOON
    this_month_pence = sum(_of_this_month(recharges, now).values_list("amount_pence", flat=True))
    if this_month_pence + organization.auto_recharge_amount_pence > (
        organization.auto_recharge_monthly_cap_pence
    ):
        _tell_of_the_limit(organization, now)
        return Guard.MONTHLY_CAP
    topup = TopUp.objects.create(
        organization=organization,
        origin=_RECHARGE,
        amount_pence=organization.auto_recharge_amount_pence,
        created_at=now,
    )
    logger.info("recharge_begun", organization_id=str(organization_id), topup_id=str(topup.pk))
    return Attempt(
        topup=topup,
        customer_id=str(profile.stripe_customer_id),
        payment_method_id=profile.stripe_payment_method_id,
    )


def _tell_of_the_limit(organization: Organization, now: datetime) -> None:
    """Tell the customer that nothing more is done this month, once for each limit that was set."""
    first = _first_of_month(now)
    alerts.raise_alert(
        organization.pk,
        alerts.Kind.RECHARGE_FAILED,
        key=f"cap:{first:%Y-%m}:{organization.auto_recharge_monthly_cap_pence}",
        context={
            "amount_pence": organization.auto_recharge_amount_pence,
            "reason": "The limit that you set for a month is reached.",
            "next_attempt_at": (first + timedelta(days=32)).replace(day=1),
            "balance_pence": organization.balance_pence,
        },
    )


def _charge(attempt: Attempt) -> None:
    """Ask Stripe for the money. What it does not say now, its webhook or the sweep will."""
    topup = attempt.topup
    if timezone.now() - topup.created_at > TOO_LATE_TO_ASK:
        # This process was stopped for so long that the sweep may have given the attempt up.
        topups.did_not_start(topup, "Stripe was never asked for the payment.")
        return
    try:
        intent = stripe_client.charge_off_session(
            topup_id=topup.pk,
            organization_id=topup.organization_id,
            customer_id=attempt.customer_id,
            payment_method_id=attempt.payment_method_id,
            amount_pence=topup.amount_pence,
        )
    except stripe_client.CardDeclined as decline:
        if decline.code == AUTHENTICATION_REQUIRED and decline.payment_intent_id:
            cancel(decline.payment_intent_id)
        _failed(topup, decline.code, decline.message, decline.payment_intent_id)
    except stripe_client.PaymentRefused as refusal:
        _failed(topup, refusal.code, refusal.message)
    except stripe_client.PaymentUnavailable as error:
        # Nothing was asked of the bank: no fault of the card's.
        logger.exception("recharge_not_begun", topup_id=str(topup.pk))
        PaymentProfile.objects.filter(pk=topup.organization_id).update(
            recharge_not_before=timezone.now() + UNAVAILABLE_PAUSE
        )
        topups.did_not_start(topup, str(error))
    except stripe_client.PaymentError:
        logger.warning("recharge_not_known", topup_id=str(topup.pk))
    else:
        follow(topup, intent)


def follow(topup: TopUp, intent: stripe_client.PaymentIntent) -> None:
    """Note how the payment of a recharge stands, short of crediting it."""
    if intent.status == "processing":
        topups.processing(
            Payment(
                topup_id=str(topup.pk),
                payment_intent_id=intent.id,
                amount_pence=intent.amount_pence,
                currency=intent.currency,
            )
        )
    elif intent.status == "requires_action":
        cancel(intent.id)
        _failed(topup, AUTHENTICATION_REQUIRED, "The bank wants to see the cardholder.", intent.id)
    elif intent.status != "succeeded":
        _failed(
            topup,
            intent.failure_code or intent.status,
            intent.failure or "The payment was not completed.",
            intent.id,
        )
    else:
        TopUp.objects.filter(pk=topup.pk, stripe_payment_intent_id=None).update(
            stripe_payment_intent_id=intent.id
        )


def cancel(payment_intent_id: str) -> None:
    """See to it that a payment which was given up is not made after all."""
    try:
        stripe_client.cancel_payment_intent(payment_intent_id)
    except stripe_client.PaymentError as error:
        # If it is paid later, it is credited all the same.
        logger.warning("payment_not_cancelled", reason=str(error))


def _failed(topup: TopUp, code: str, message: str, payment_intent_id: str = "") -> None:
    topups.failed(
        Failure(
            topup_id=str(topup.pk),
            payment_intent_id=payment_intent_id,
            code=code,
            message=message,
            is_final=True,
        )
    )
