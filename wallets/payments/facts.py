"""What Stripe says, as billing understands it, and what became of hearing it.

Facts come in any order, and more than once. Each names its payment by the PaymentIntent, and by
the top-up that our metadata names, which is empty where Stripe does not carry it.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Payment:
    """A payment of an amount in hundredths of a currency, which is to be ours: pence."""

    topup_id: str
    payment_intent_id: str
    amount_pence: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An attempt to pay that failed. After a final one, nothing more comes of the top-up."""

    topup_id: str
    payment_intent_id: str
    code: str
    message: str
    is_final: bool


@dataclass(frozen=True, kw_only=True)
class RefundedTotal:
    """What was given back of a payment so far, by whomever; amounts in pence if it is ours."""

    topup_id: str
    payment_intent_id: str
    refunded_pence: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class RefundNews:
    """How one refund stands. `refund_id` is ours, and empty for one from outside."""

    stripe_refund_id: str
    payment_intent_id: str
    refund_id: str
    status: str
    amount_pence: int
    failure: str


@dataclass(frozen=True, kw_only=True)
class DisputeNews:
    """A payment is contested; at `occurred_at`, Stripe may have taken the money or returned it."""

    stripe_dispute_id: str
    payment_intent_id: str
    amount_pence: int
    currency: str
    reason: str
    is_withdrawn: bool
    is_reinstated: bool
    occurred_at: datetime


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What became of a fact: a sentence for staff. `usable` is false if somebody has to look."""

    text: str
    usable: bool = True
    organization_id: UUID | None = None


class PaymentNotKnown(Exception):
    """No top-up is known by this PaymentIntent yet; the fact is to be told again later."""

    def __init__(self, payment_intent_id: str) -> None:
        super().__init__(f"No top-up is known by the PaymentIntent {payment_intent_id} yet.")


NOT_OURS = Heard(text="Not a payment of ours: it names no top-up.")
