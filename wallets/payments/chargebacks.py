"""Money that Stripe took back without us: refunds from outside, and disputes.

A fact is written down when it is heard, and acted on once the top-up is credited. `settle` brings
the wallet in line with all facts known, and is safe to call at any time. Only what is here claws
back and suspends.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from wallets import alerts, ledger
from wallets.locks import lock_organization
from wallets.models import CreditTransaction, Dispute, Refund, TopUp
from wallets.payments.facts import (
    NOT_OURS,
    DisputeNews,
    Heard,
    PaymentNotKnown,
    RefundedTotal,
)
from wallets.payments.finding import find_topup, lock_topup, look_at
from wallets.payments.stripe_client import CURRENCY

_DISPUTED = "Your bank took the payment back, because it was disputed."
_REFUNDED = "The payment was refunded outside of your account here."


@transaction.atomic
def refunded_at_stripe(fact: RefundedTotal) -> Heard:
    """Hear how much of a payment was given back in all, by staff here or by anybody elsewhere.

    Raises PaymentNotKnown while it may yet turn out which of its payments the top-up is.
    """
    found = find_topup(topup_id=fact.topup_id, payment_intent_id=fact.payment_intent_id)
    if found is None:
        return NOT_OURS
    organization, topup = lock_topup(found)
    if topup.stripe_payment_intent_id not in (None, fact.payment_intent_id):
        if not topup.is_paid:
            raise PaymentNotKnown(fact.payment_intent_id)
        sentence = (
            f"Of the payment {fact.payment_intent_id}, which was not credited, "
            f"{fact.refunded_pence} {fact.currency} were refunded at Stripe."
        )
        look_at(topup, sentence)
        return Heard(text=sentence, organization_id=organization.pk)
    if fact.currency != CURRENCY or fact.refunded_pence > topup.amount_pence:
        return _unbelievable(
            topup,
            f"Stripe says that {fact.refunded_pence} {fact.currency} were refunded of this "
            f"payment of {topup.amount_pence} {CURRENCY}.",
        )
    if topup.stripe_payment_intent_id is None:
        # Heard before the payment itself. Disputes are found by it.
        topup.stripe_payment_intent_id = fact.payment_intent_id
    topup.stripe_refunded_pence = max(topup.stripe_refunded_pence, fact.refunded_pence)
    topup.save(update_fields=["stripe_payment_intent_id", "stripe_refunded_pence"])
    before_pence = topup.clawed_back_pence
    settle(topup)
    taken_pence = topup.clawed_back_pence - before_pence
    return Heard(
        text=f"Clawed back: {taken_pence}p were refunded from outside."
        if taken_pence
        else "Nothing to claw back.",
        organization_id=organization.pk,
    )


@transaction.atomic
def disputed(fact: DisputeNews) -> Heard:
    """Hear of a dispute. Raises PaymentNotKnown: disputes name their PaymentIntent only."""
    found = find_topup(topup_id="", payment_intent_id=fact.payment_intent_id)
    if found is None:
        raise PaymentNotKnown(fact.payment_intent_id)
    organization, topup = lock_topup(found)
    if fact.currency != CURRENCY:
        return _unbelievable(
            topup,
            f"Stripe disputes {fact.amount_pence} {fact.currency} of this payment of "
            f"{topup.amount_pence} {CURRENCY}.",
        )
    dispute, _ = Dispute.objects.get_or_create(
        stripe_dispute_id=fact.stripe_dispute_id,
        defaults={
            "organization": organization,
            "topup": topup,
            "amount_pence": fact.amount_pence,
            "created_at": fact.occurred_at,
        },
    )
    if dispute.amount_pence != fact.amount_pence:
        return _unbelievable(
            topup,
            f"Stripe disputes {fact.amount_pence}p in {fact.stripe_dispute_id}, and said "
            f"{dispute.amount_pence}p before.",
        )
    dispute.reason = fact.reason or dispute.reason
    if fact.is_withdrawn and dispute.withdrawn_at is None:
        dispute.withdrawn_at = fact.occurred_at
    if fact.is_reinstated and dispute.reinstated_at is None:
        dispute.reinstated_at = fact.occurred_at
    dispute.save(update_fields=["reason", "withdrawn_at", "reinstated_at"])
    settle(topup)
    return Heard(text=_course_of(dispute), organization_id=organization.pk)


def settle(topup: TopUp) -> None:
    """Take from the wallet what Stripe took, and give back what it returned; each once.

    The top-up is locked by the caller, and nothing is done before it is credited.
    """
    if not topup.is_paid:
        return
    _claw_back_refunds(topup)
    for dispute in topup.disputes.select_related("claw_back").order_by("created_at", "pk"):
        if dispute.withdrawn_at is not None and dispute.claw_back is None:
            _take(topup, dispute)
        if (
            dispute.reinstated_at is not None
            and dispute.claw_back is not None
            and not dispute.is_given_back
        ):
            _return(topup, dispute, dispute.claw_back)
    _flag_if_too_much_was_taken(topup)


def _flag_if_too_much_was_taken(topup: TopUp) -> None:
    disputed = topup.disputes.filter(claw_back__isnull=False, is_given_back=False)
    disputed_pence = disputed.aggregate(sum=Sum("amount_pence"))["sum"] or 0
    taken_pence = topup.refunded_pence + topup.clawed_back_pence + disputed_pence
    if taken_pence > topup.amount_pence:
        look_at(
            topup,
            f"{taken_pence}p were taken back of this payment of {topup.amount_pence}p: compare "
            "with Stripe, and adjust the balance by hand if it took less.",
        )


def _claw_back_refunds(topup: TopUp) -> None:
    if topup.stripe_refunded_pence == 0:
        return
    # Stripe's figure never falls, so what came back from the bank is still part of it.
    own = topup.refunds.exclude(status=Refund.Status.REVERSED).aggregate(sum=Sum("amount_pence"))
    missing_pence = topup.stripe_refunded_pence - (own["sum"] or 0) - topup.clawed_back_pence
    if missing_pence <= 0:
        return
    topup.clawed_back_pence += missing_pence
    topup.save(update_fields=["clawed_back_pence"])
    _claw_back(
        topup,
        missing_pence,
        description="Payment refunded from outside",
        key=f"refunded:{topup.pk}:{topup.clawed_back_pence}",
        reason=_REFUNDED,
    )


def _take(topup: TopUp, dispute: Dispute) -> None:
    entry_id = _claw_back(
        topup,
        dispute.amount_pence,
        description="Payment disputed",
        key=f"dispute:{dispute.pk}",
        reason=_DISPUTED,
    )
    dispute.claw_back = CreditTransaction.objects.get(pk=entry_id)
    dispute.save(update_fields=["claw_back"])


def _return(topup: TopUp, dispute: Dispute, claw_back: CreditTransaction) -> None:
    key = f"dispute:{dispute.pk}"
    organization = lock_organization(topup.organization_id)
    given_up_pence = min(_owed_of(claw_back), organization.owed_pence)
    if given_up_pence > 0:
        ledger.write_off_owed(
            organization_id=organization.pk,
            amount_pence=given_up_pence,
            reason="Disputed payment came back: no longer owed",
            idempotency_key=key,
        )
    if dispute.amount_pence > given_up_pence:
        ledger.return_payment(
            organization_id=organization.pk,
            amount_pence=dispute.amount_pence - given_up_pence,
            reason="Disputed payment came back",
            idempotency_key=key,
        )
    dispute.is_given_back = True
    dispute.save(update_fields=["is_given_back"])


def _owed_of(claw_back: CreditTransaction) -> int:
    """What a claw-back left owed and was not recovered since: what was owed first is paid first."""
    since = CreditTransaction.objects.filter(
        organization_id=claw_back.organization_id,
        sequence__gt=claw_back.sequence,
        type=CreditTransaction.Type.RECOVERY,
    )
    recovered_pence = since.aggregate(sum=Sum("amount_pence"))["sum"] or 0
    paid_pence = max(recovered_pence - claw_back.owed_before_pence, 0)
    return max(claw_back.owed_change_pence - paid_pence, 0)


def _claw_back(topup: TopUp, amount_pence: int, *, description: str, key: str, reason: str) -> UUID:
    posting = ledger.claw_back(
        organization_id=topup.organization_id,
        amount_pence=amount_pence,
        description=description,
        idempotency_key=key,
    )
    organization = lock_organization(topup.organization_id)
    alerts.raise_alert(
        organization.pk,
        alerts.Kind.PAYMENT_CLAWED_BACK,
        key=key,
        context={
            "amount_pence": amount_pence,
            "reason": reason,
            "balance_pence": organization.balance_pence,
            "owed_pence": organization.owed_pence,
        },
    )
    return posting.transaction_id


def _course_of(dispute: Dispute) -> str:
    """The sentence for staff about a dispute as it stands."""
    if dispute.withdrawn_at is None and dispute.reinstated_at is None:
        return "An inquiry: no money moved."
    if dispute.withdrawn_at is None:
        return "The money came back before it was known to be gone: nothing to do yet."
    if dispute.reinstated_at is None:
        return "Disputed: clawed back once the top-up is credited."
    return "Disputed, and the money came back."


def _unbelievable(topup: TopUp, sentence: str) -> Heard:
    look_at(topup, sentence)
    return Heard(text=sentence, usable=False, organization_id=topup.organization_id)
