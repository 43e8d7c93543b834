"""Top-ups: written down before Stripe is asked, and credited once, when it says that they are paid.

Only `credit` puts a payment into a wallet, whoever tells of it: a webhook, or a sweep that asked.
"""

from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from voxbilling.after_commit import send_after_commit
from wallets import alerts, ledger
from wallets.formats import pounds
from wallets.locks import lock_organization
from wallets.models import PaymentProfile, TopUp
from wallets.payments import cards, chargebacks, stripe_client
from wallets.payments.declines import count_decline
from wallets.payments.facts import NOT_OURS, Failure, Heard, Payment
from wallets.payments.finding import find_topup, lock_topup, look_at
from wallets.payments.stripe_client import CURRENCY

logger = structlog.get_logger(__name__)

Status = TopUp.Status
Origin = TopUp.Origin

# £10,000. A larger payment is worth a talk to the operator, and may be a mistyped one.
MAX_TOPUP_PENCE = 1_000_000
# Stripe is asked about each page every hour until it closes.
MAX_OPEN_CHECKOUTS = 50

KEEP_CARDS_TASK = "wallets.tasks.keep_cards"
# In seconds: the sweep has long done what a task so late would do.
_TASK_EXPIRES = 60

_DESCRIPTIONS = {Origin.CHECKOUT: "Top-up", Origin.AUTO_RECHARGE: "Automatic top-up"}


class AmountNotAllowed(Exception):
    """The top-up is too small or too large; the text says what is allowed."""


class TooManyOpen(Exception):
    """Nobody paid on the pages that were opened before; the text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            f"{MAX_OPEN_CHECKOUTS} top-ups wait for their payment already: pay on one of their "
            "pages, or try again when the first of them has closed, a day after it was opened."
        )


def start_checkout(
    *, organization_id: UUID, amount_pence: int, user_id: int | None, save_card: bool
) -> str:
    """Begin a top-up; returns the address of Stripe's page to pay it on.

    With `save_card`, the customer has agreed that the card is kept for automatic recharges. A
    suspended organization may pay what it owes. Nothing is credited here.
    Raises AmountNotAllowed, TooManyOpen, OrganizationNotFound, PaymentError.
    """
    check_amount(amount_pence)
    with transaction.atomic():
        lock_organization(organization_id)
        waiting = TopUp.objects.filter(
            organization_id=organization_id, origin=Origin.CHECKOUT, status=Status.PENDING
        )
        if waiting.count() >= MAX_OPEN_CHECKOUTS:
            raise TooManyOpen
        topup = TopUp.objects.create(
            organization_id=organization_id,
            origin=Origin.CHECKOUT,
            amount_pence=amount_pence,
            saves_card=save_card,
            requested_by_id=user_id,
            created_at=timezone.now(),
        )
    try:
        session = _open_page(topup)
    except stripe_client.PaymentError:
        logger.exception("checkout_not_started", topup_id=str(topup.pk))
        # If there is a page after all, nobody has its address.
        did_not_start(topup, "The payment did not begin.")
        raise
    TopUp.objects.filter(pk=topup.pk).update(stripe_checkout_session_id=session.id)
    return session.url


def _open_page(topup: TopUp) -> stripe_client.CheckoutSession:
    customer_id = customer_of(topup.organization_id)
    try:
        return _open_page_for(customer_id, topup)
    except stripe_client.PaymentRefused as refusal:
        if (refusal.code, refusal.param) != (stripe_client.MISSING, "customer"):
            raise
    logger.warning("customer_deleted_at_stripe", organization_id=str(topup.organization_id))
    return _open_page_for(cards.replace_customer(topup.organization_id, customer_id), topup)


def _open_page_for(customer_id: str, topup: TopUp) -> stripe_client.CheckoutSession:
    return stripe_client.create_checkout_session(
        topup_id=topup.pk,
        organization_id=topup.organization_id,
        customer_id=customer_id,
        amount_pence=topup.amount_pence,
        save_card=topup.saves_card,
        return_url=f"{settings.SITE_URL}/wallet/top-up/{topup.pk}/",
    )


def check_amount(amount_pence: int) -> None:
    """Raises AmountNotAllowed."""
    lowest = settings.WALLET_MIN_TOPUP_PENCE
    if not lowest <= amount_pence <= MAX_TOPUP_PENCE:
        raise AmountNotAllowed(
            f"A top-up is from {pounds(lowest)} to {pounds(MAX_TOPUP_PENCE)}: "
            f"{pounds(amount_pence)} is not."
        )


def customer_of(organization_id: UUID) -> str:
    """The organization's customer at Stripe, who is made on first use. Raises PaymentError."""
    profile, _ = PaymentProfile.objects.get_or_create(organization_id=organization_id)
    if profile.stripe_customer_id:
        return profile.stripe_customer_id
    customer_id = stripe_client.create_customer(organization_id)
    PaymentProfile.objects.filter(pk=organization_id, stripe_customer_id=None).update(
        stripe_customer_id=customer_id
    )
    # Whoever asked at the same time may have been first.
    return str(PaymentProfile.objects.get(pk=organization_id).stripe_customer_id)


@transaction.atomic
def credit(payment: Payment) -> Heard:
    """Put a payment that Stripe has received into the wallet, unless that was done.

    The amount is that of our own record. If Stripe's differs, nothing is credited and staff are
    shown both. One entry is made of a PaymentIntent, ever.
    """
    found = find_topup(topup_id=payment.topup_id, payment_intent_id=payment.payment_intent_id)
    if found is None:
        return _unknown(payment)
    organization, topup = lock_topup(found)
    if objection := _objection(topup, payment):
        look_at(topup, objection)
        return Heard(text=objection, usable=False, organization_id=organization.pk)
    if topup.is_paid:
        return Heard(text="Credited before.", organization_id=organization.pk)
    now = timezone.now()
    posting = ledger.add_credits(
        organization_id=organization.pk,
        amount_pence=topup.amount_pence,
        credit_type="topup",
        description=_DESCRIPTIONS[Origin(topup.origin)],
        idempotency_key=payment.payment_intent_id,
    )
    topup.status = Status.PAID
    topup.entry_id = posting.transaction_id
    if topup.stripe_payment_intent_id not in (None, payment.payment_intent_id):
        # What was heard of refunds was of another payment for this top-up.
        topup.stripe_refunded_pence = 0
    topup.stripe_payment_intent_id = payment.payment_intent_id
    topup.finished_at = now
    topup.failure_code = topup.failure = ""
    if topup.saves_card and topup.origin == Origin.CHECKOUT:
        topup.card_due_at = now
        send_after_commit(KEEP_CARDS_TASK, expires=_TASK_EXPIRES)
    topup.save()
    if topup.origin == Origin.AUTO_RECHARGE:
        PaymentProfile.objects.filter(pk=organization.pk).update(declines_in_a_row=0)
    _send_receipt(topup)
    chargebacks.settle(topup)
    return Heard(text=f"Credited {topup.amount_pence}p.", organization_id=organization.pk)


@transaction.atomic
def processing(payment: Payment) -> Heard:
    """Hear that a payment was made by a method that takes days."""
    found = find_topup(topup_id=payment.topup_id, payment_intent_id=payment.payment_intent_id)
    if found is None:
        return _unknown(payment)
    organization, topup = lock_topup(found)
    if topup.status == Status.PENDING:
        topup.status = Status.PROCESSING
        topup.stripe_payment_intent_id = payment.payment_intent_id
        topup.save(update_fields=["status", "stripe_payment_intent_id"])
    return Heard(text="Waiting for the payment.", organization_id=organization.pk)


@transaction.atomic
def failed(failure: Failure) -> Heard:
    """Hear that an attempt to pay failed. On Stripe's page, the customer may try another card."""
    found = find_topup(topup_id=failure.topup_id, payment_intent_id=failure.payment_intent_id)
    if found is None:
        return NOT_OURS
    organization, topup = lock_topup(found)
    heard = Heard(text=f"Not paid: {failure.message}", organization_id=organization.pk)
    if topup.status not in TopUp.IN_FLIGHT:
        return heard
    if failure.is_final or topup.origin == Origin.AUTO_RECHARGE:
        _finish(topup, Status.FAILED, code=failure.code, failure=failure.message)
        if topup.origin == Origin.AUTO_RECHARGE:
            count_decline(organization, topup)
    else:
        topup.failure_code, topup.failure = failure.code, failure.message
        topup.save(update_fields=["failure_code", "failure"])
    return heard


@transaction.atomic
def expired(topup_id: str) -> Heard:
    """Hear that nobody paid while Stripe's page was open."""
    found = find_topup(topup_id=topup_id, payment_intent_id="")
    if found is None:
        return NOT_OURS
    organization, topup = lock_topup(found)
    if topup.status == Status.PENDING:
        _finish(topup, Status.EXPIRED, code="expired", failure="It was not paid in time.")
    return Heard(text="The page to pay on has expired.", organization_id=organization.pk)


def _objection(topup: TopUp, payment: Payment) -> str:
    """Why this payment is not the one that the top-up waits for; empty if it is."""
    if payment.topup_id and payment.topup_id != str(topup.pk):
        return (
            f"The payment {payment.payment_intent_id} of this top-up now names another one, "
            f"{payment.topup_id}: nothing was credited for that."
        )
    if topup.is_paid and topup.stripe_payment_intent_id != payment.payment_intent_id:
        return (
            f"A second payment, {payment.payment_intent_id} of {payment.amount_pence} "
            f"{payment.currency}, was made for this top-up and was not credited: refund it at "
            "Stripe, or credit it by hand."
        )
    if (payment.amount_pence, payment.currency) != (topup.amount_pence, CURRENCY):
        return (
            f"Not credited: Stripe received {payment.amount_pence} {payment.currency} for "
            f"{payment.payment_intent_id}, and {topup.amount_pence} {CURRENCY} were asked for."
        )
    return ""


def _unknown(payment: Payment) -> Heard:
    if not payment.topup_id:
        return NOT_OURS
    return Heard(
        text=f"The payment {payment.payment_intent_id} names the top-up {payment.topup_id}, which "
        "is not here: nothing was credited.",
        usable=False,
    )


@transaction.atomic
def did_not_start(topup: TopUp, why: str) -> None:
    """Give up a top-up of which Stripe knows nothing; `why` is a sentence."""
    _, topup = lock_topup(topup)
    if topup.status == Status.PENDING:
        _finish(topup, Status.FAILED, code="not_started", failure=why)


@transaction.atomic
def lost_at_stripe(topup: TopUp) -> None:
    """Give up a top-up whose payment Stripe does not know any more, and have staff look at it."""
    _, topup = lock_topup(topup)
    if topup.status in TopUp.IN_FLIGHT:
        _finish(topup, Status.FAILED, code="not_at_stripe", failure="The payment was lost.")
        look_at(
            topup,
            "Stripe does not know this payment any more: look whether STRIPE_SECRET_KEY is that of "
            "the account that took it, and credit it by hand if it was paid.",
        )


def _finish(topup: TopUp, status: Status, *, code: str, failure: str) -> None:
    longest = TopUp._meta.get_field("failure").max_length
    topup.status = status
    topup.failure_code = code
    topup.failure = failure[:longest]
    topup.finished_at = timezone.now()
    topup.save(update_fields=["status", "failure_code", "failure", "finished_at"])


def _send_receipt(topup: TopUp) -> None:
    organization = lock_organization(topup.organization_id)
    alerts.raise_alert(
        organization.pk,
        alerts.Kind.TOPUP_RECEIPT,
        key=str(topup.pk),
        context={
            "amount_pence": topup.amount_pence,
            "is_automatic": topup.origin == Origin.AUTO_RECHARGE,
            "paid_at": topup.finished_at,
            "reference": topup.stripe_payment_intent_id,
            "balance_pence": organization.balance_pence,
            "owed_pence": organization.owed_pence,
        },
    )
