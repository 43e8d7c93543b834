"""Refunds by staff: taken from the wallet first, then asked of Stripe.

A definite refusal puts the money back into the wallet. Without an answer, Stripe is asked what it
has before anything else, so that a refund is never made twice, and never both made and put back.
"""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from wallets import alerts, ledger
from wallets.models import Organization, Refund, TopUp
from wallets.payments import chargebacks, stripe_client
from wallets.payments.facts import NOT_OURS, Heard, RefundNews
from wallets.payments.finding import find_topup, lock_topup, look_at
from wallets.payments.stripe_client import RefundAtStripe
from wallets.payments.sweeping import in_time

logger = structlog.get_logger(__name__)

Status = Refund.Status

# Longer than asking Stripe takes; if a process dies, the sweep goes on after this.
LEASE = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(hours=1)
REFUNDS_PER_SWEEP = 50
# By then somebody should look why Stripe does not say.
ATTEMPTS_UNTIL_STAFF_ARE_TOLD = 10
MAX_REASON_LENGTH = 300
_CAME_BACK = {"failed", "canceled"}


class RefundNotAllowed(Exception):
    """This much of the top-up cannot be given back; the text says why."""


def refund(
    *, refund_id: UUID, topup_id: UUID, amount_pence: int, reason: str, requested_by_id: int
) -> Refund:
    """Give back a paid top-up, or a part of it; returns the refund as it stands then.

    Asked again with the same `refund_id`, the refund is that of the first time. Raises
    RefundNotAllowed, InsufficientBalance, and IdempotencyConflict for other details.
    """
    is_new = debit(
        refund_id=refund_id,
        topup_id=topup_id,
        amount_pence=amount_pence,
        reason=reason,
        requested_by_id=requested_by_id,
    )
    return ask_for(refund_id) if is_new else Refund.objects.get(pk=refund_id)


def ask_for(refund_id: UUID) -> Refund:
    """Ask Stripe for a refund that was just debited; returns it as it stands then.

    Never called in a transaction.
    """
    _ask_for(Refund.objects.get(pk=refund_id))
    return Refund.objects.get(pk=refund_id)


def refundable_pence(topup: TopUp) -> int:
    """What was not given back of a top-up by anybody."""
    if not topup.is_paid:
        return 0
    return topup.amount_pence - topup.refunded_pence - topup.clawed_back_pence


def resume_refunds() -> int:
    """Ask Stripe about the refunds whose outcome is not known; returns how many."""
    now = timezone.now()
    due = Refund.objects.filter(work_due_at__lte=now).order_by("work_due_at")[:REFUNDS_PER_SWEEP]
    count = 0
    for waiting in in_time(due):
        if Refund.objects.filter(pk=waiting.pk, work_due_at=waiting.work_due_at).update(
            work_due_at=now + LEASE
        ):
            _find_out(waiting)
            count += 1
    return count


@transaction.atomic
def heard(fact: RefundNews) -> Heard:
    """Hear how a refund stands at Stripe: one of ours, or one from outside."""
    found = _find(fact)
    if found is None:
        return _from_outside(fact)
    organization = _adopt(
        found,
        RefundAtStripe(
            id=fact.stripe_refund_id,
            status=fact.status,
            amount_pence=fact.amount_pence,
            refund_id=str(found.pk),
            failure=fact.failure,
        ),
    )
    found.refresh_from_db()
    return Heard(text=f"The refund is {found.status}.", organization_id=organization.pk)


@transaction.atomic
def debit(
    *, refund_id: UUID, topup_id: UUID, amount_pence: int, reason: str, requested_by_id: int
) -> bool:
    """Take the money from the wallet, and write down that Stripe is to give it back.

    Returns whether that is new. If nobody goes on with `ask_for`, the sweep does. Raises as
    `refund` does.
    """
    found = TopUp.objects.filter(pk=topup_id).first()
    if found is None:
        raise RefundNotAllowed("There is no such top-up.")
    organization, topup = lock_topup(found)
    first = Refund.objects.filter(pk=refund_id).first()
    if first is not None:
        if (first.topup_id, first.amount_pence) != (topup.pk, amount_pence):
            raise ledger.IdempotencyConflict("This refund was asked for before, of other details.")
        return False
    _require_refundable(topup, amount_pence)
    posting = ledger.adjust_balance(
        organization_id=organization.pk,
        change_pence=-amount_pence,
        reason="Refund of a top-up",
        idempotency_key=f"refund:{refund_id}",
        created_by_id=requested_by_id,
    )
    topup.refunded_pence += amount_pence
    topup.save(update_fields=["refunded_pence"])
    now = timezone.now()
    Refund.objects.create(
        pk=refund_id,
        organization=organization,
        topup=topup,
        amount_pence=amount_pence,
        reason=reason,
        requested_by_id=requested_by_id,
        debit_id=posting.transaction_id,
        created_at=now,
        work_due_at=now + LEASE,
    )
    return True


def _require_refundable(topup: TopUp, amount_pence: int) -> None:
    if not topup.is_paid:
        raise RefundNotAllowed(f"The top-up is {topup.get_status_display()}: nothing was paid.")
    if topup.disputes.filter(withdrawn_at__isnull=False, is_given_back=False).exists():
        raise RefundNotAllowed(
            "The payment is disputed: the bank has the money already. Answer the dispute at Stripe."
        )
    left_pence = refundable_pence(topup)
    if not 0 < amount_pence <= left_pence:
        raise RefundNotAllowed(
            f"{amount_pence}p cannot be refunded: {left_pence}p of this top-up of "
            f"{topup.amount_pence}p was not given back yet."
        )


def _find_out(waiting: Refund) -> None:
    """Do what was left undone: take what Stripe has of this refund, or ask for it again."""
    try:
        known = next(
            (
                each
                for each in stripe_client.list_refunds(_payment_intent_of(waiting))
                if each.refund_id == str(waiting.pk)
            ),
            None,
        )
    except stripe_client.PaymentError as error:
        _postpone(waiting, error)
        return
    if known is not None:
        _adopt(waiting, known)
    else:
        # By the same key: if the first request is still on its way, this one is the same.
        _ask_for(waiting)


def _ask_for(debited: Refund) -> None:
    try:
        made = stripe_client.create_refund(
            refund_id=debited.pk,
            organization_id=debited.organization_id,
            payment_intent_id=_payment_intent_of(debited),
            amount_pence=debited.amount_pence,
        )
    except (stripe_client.PaymentRefused, stripe_client.CardDeclined) as refusal:
        _reverse(debited, str(refusal))
    except stripe_client.PaymentError as error:
        _postpone(debited, error)
    else:
        _adopt(debited, made)


def _payment_intent_of(refund: Refund) -> str:
    return str(refund.topup.stripe_payment_intent_id)


@transaction.atomic
def _adopt(known: Refund, at_stripe: RefundAtStripe) -> Organization:
    """Follow what Stripe says of a refund of ours."""
    organization, topup, refund = _lock(known)
    refund.stripe_refund_id = refund.stripe_refund_id or at_stripe.id
    if refund.status == Status.REVERSED:
        # Its money is back in the wallet. If Stripe gave it as well, the payment's total says so.
        if at_stripe.status not in _CAME_BACK:
            look_at(topup, f"Stripe made the refund {refund.pk}, which it had refused before.")
        refund.save(update_fields=["stripe_refund_id"])
    elif at_stripe.status in _CAME_BACK:
        if refund.status != Status.RETURNED:
            _put_back(
                topup,
                refund,
                Status.RETURNED,
                f"It came back from the bank: {at_stripe.failure or at_stripe.status}.",
            )
    elif refund.status == Status.DEBITED:
        refund.status = Status.ACCEPTED
        refund.work_due_at = None
        refund.save()
        _tell(organization, refund)
    return organization


@transaction.atomic
def _reverse(debited: Refund, failure: str) -> None:
    """Put the money back into the wallet: Stripe will not make this refund."""
    _, topup, refund = _lock(debited)
    if refund.status == Status.DEBITED:
        _put_back(topup, refund, Status.REVERSED, failure)


def _put_back(topup: TopUp, refund: Refund, status: Status, failure: str) -> None:
    posting = ledger.return_payment(
        organization_id=refund.organization_id,
        amount_pence=refund.amount_pence,
        reason="Refund did not succeed: back in the wallet",
        idempotency_key=f"refund_reversal:{refund.pk}",
    )
    refund.reversal_id = posting.transaction_id
    refund.status = status
    refund.failure = failure[: Refund._meta.get_field("failure").max_length]
    refund.work_due_at = None
    refund.save()
    topup.refunded_pence -= refund.amount_pence
    topup.save(update_fields=["refunded_pence"])
    look_at(topup, f"The refund {refund.pk} of {refund.amount_pence}p did not succeed. {failure}")
    # What was taken for ours may have been somebody else's.
    chargebacks.settle(topup)


def _postpone(waiting: Refund, error: Exception) -> None:
    attempts = waiting.work_attempts + 1
    pause = min(LEASE * 2 ** min(waiting.work_attempts, 10), LONGEST_PAUSE)
    Refund.objects.filter(pk=waiting.pk, status=Status.DEBITED).update(
        work_attempts=attempts, work_due_at=timezone.now() + pause, failure=str(error)[:500]
    )
    log = logger.error if attempts >= ATTEMPTS_UNTIL_STAFF_ARE_TOLD else logger.warning
    log("refund_not_known", refund_id=str(waiting.pk), attempts=attempts, reason=str(error))


def _lock(known: Refund) -> tuple[Organization, TopUp, Refund]:
    organization, topup = lock_topup(known.topup)
    return organization, topup, Refund.objects.select_for_update(no_key=True).get(pk=known.pk)


def _find(fact: RefundNews) -> Refund | None:
    """Ours, by Stripe's id of it or by the metadata that we gave it."""
    by_stripe_id = Refund.objects.filter(stripe_refund_id=fact.stripe_refund_id).first()
    if by_stripe_id is not None:
        return by_stripe_id
    try:
        return Refund.objects.filter(
            pk=UUID(fact.refund_id), topup__stripe_payment_intent_id=fact.payment_intent_id
        ).first()
    except ValueError:
        return None


def _from_outside(fact: RefundNews) -> Heard:
    """The payment's total tells what to take; but what comes back later, staff have to judge."""
    found = find_topup(topup_id="", payment_intent_id=fact.payment_intent_id)
    if found is None:
        return NOT_OURS
    organization, topup = lock_topup(found)
    if fact.status not in _CAME_BACK:
        if not topup.refunds.filter(status=Status.RETURNED).exists():
            return Heard(
                text="A refund from outside: the payment's total tells of it.",
                organization_id=organization.pk,
            )
        # The total fell when ours came back, or did not: it does not say what is new.
        sentence = (
            f"The refund {fact.stripe_refund_id} of {fact.amount_pence}p was made outside after "
            "one from here came back from the bank: if it was not clawed back, adjust the balance "
            "by hand."
        )
        look_at(topup, sentence)
        return Heard(text=sentence, usable=False, organization_id=organization.pk)
    sentence = (
        f"The refund {fact.stripe_refund_id} of {fact.amount_pence}p from outside came back from "
        "the bank: if it was clawed back, adjust the balance by hand."
    )
    look_at(topup, sentence)
    return Heard(text=sentence, usable=False, organization_id=organization.pk)


def _tell(organization: Organization, refund: Refund) -> None:
    alerts.raise_alert(
        organization.pk,
        alerts.Kind.REFUND_MADE,
        key=str(refund.pk),
        context={
            "amount_pence": refund.amount_pence,
            "reference": refund.stripe_refund_id,
            "balance_pence": organization.balance_pence,
        },
    )
