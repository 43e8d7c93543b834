"""Stripe's events: from untrusted JSON to what billing needs to know, and nothing more.

`pick` leaves what may be stored, `read` says what happened. An event that was delivered and one
that was fetched later take the same way. Names, addresses, e-mails and card details are never kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from voxbilling.untrusted import clean_reason, clean_text, value_at
from wallets.payments.facts import DisputeNews, Failure, Payment, RefundedTotal, RefundNews

# What is subscribed to at Stripe, and fetched when it was not delivered.
TYPES = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "refund.created",
    "refund.updated",
    "refund.failed",
)
_MAX_AMOUNT = 10**12


@dataclass(frozen=True)
class Paid:
    payment: Payment


@dataclass(frozen=True)
class Processing:
    """A payment that takes days has begun."""

    payment: Payment


@dataclass(frozen=True)
class Expired:
    """The page to pay a top-up on is closed."""

    topup_id: str


@dataclass(frozen=True)
class NotNeeded:
    """An event that billing has no use for; `reason` is a sentence for staff."""

    reason: str


@dataclass(frozen=True)
class Unusable:
    """An event that billing would need and cannot use; `reason` is a sentence for staff."""

    reason: str


Fact = (
    Paid
    | Processing
    | Failure
    | Expired
    | RefundedTotal
    | DisputeNews
    | RefundNews
    | NotNeeded
    | Unusable
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """`is_live` is false for a payment of play money."""

    is_live: bool
    fact: Fact


def pick(document: object) -> dict[str, Any]:
    """The fields that billing needs, cleaned, in Stripe's own places; all else is left out."""
    picked = _picked(document, _ENVELOPE)
    of_object = _picked(value_at(document, "data", "object"), _OBJECT)
    if of_object:
        picked["data"] = {"object": of_object}
    return picked


def read(stored: object) -> Event:
    """What a picked event says. Reads any JSON without raising: a stored row is not trusted."""
    picked = pick(stored)
    fields = value_at(picked, "data", "object") or {}
    kind = picked.get("type", "")
    return Event(is_live=picked.get("livemode") is True, fact=_fact(kind, fields, picked))


def _fact(kind: str, fields: dict[str, Any], picked: dict[str, Any]) -> Fact:
    reader = _READERS.get(kind)
    if reader is None:
        return NotNeeded(f"Billing needs no events of type {kind or 'unknown'}.")
    try:
        return reader(fields, picked)
    except KeyError as missing:
        return Unusable(f"The event lacks a usable {missing.args[0]}.")


def _session(fields: dict[str, Any], picked: dict[str, Any]) -> Fact:
    if not _topup_id(fields):
        return NotNeeded("Not a payment of ours: it names no top-up.")
    payment = Payment(
        topup_id=_topup_id(fields),
        payment_intent_id=fields["payment_intent"],
        amount_pence=fields["amount_total"],
        currency=fields["currency"],
    )
    if picked["type"].endswith("async_payment_failed"):
        return _failure(fields, is_final=True)
    # A page that was completed may have been paid by a method that takes days.
    return Paid(payment) if fields.get("payment_status") == "paid" else Processing(payment)


def _session_expired(fields: dict[str, Any], _picked: dict[str, Any]) -> Fact:
    return Expired(_topup_id(fields))


def _intent(fields: dict[str, Any], picked: dict[str, Any]) -> Fact:
    payment = Payment(
        topup_id=_topup_id(fields),
        payment_intent_id=fields["id"],
        amount_pence=fields["amount"],
        currency=fields["currency"],
    )
    return Paid(payment) if picked["type"].endswith("succeeded") else Processing(payment)


def _intent_failed(fields: dict[str, Any], _picked: dict[str, Any]) -> Fact:
    return _failure({**fields, "payment_intent": fields["id"]}, is_final=False)


def _intent_canceled(fields: dict[str, Any], _picked: dict[str, Any]) -> Fact:
    return _failure({**fields, "payment_intent": fields["id"]}, is_final=True)


def _failure(fields: dict[str, Any], *, is_final: bool) -> Failure:
    error = fields.get("last_payment_error", {})
    return Failure(
        topup_id=_topup_id(fields),
        payment_intent_id=fields["payment_intent"],
        code=error.get("code", "canceled" if is_final else "failed")[:60],
        message=error.get("message", "The payment was not completed."),
        is_final=is_final,
    )


def _refunded(fields: dict[str, Any], _picked: dict[str, Any]) -> Fact:
    return RefundedTotal(
        topup_id=_topup_id(fields),
        payment_intent_id=fields["payment_intent"],
        refunded_pence=fields["amount_refunded"],
        currency=fields["currency"],
    )


def _dispute(fields: dict[str, Any], picked: dict[str, Any]) -> Fact:
    kind = picked["type"]
    return DisputeNews(
        stripe_dispute_id=fields["id"],
        payment_intent_id=fields["payment_intent"],
        amount_pence=fields["amount"],
        currency=fields["currency"],
        reason=fields.get("reason", "")[:100],
        is_withdrawn=kind.endswith("funds_withdrawn")
        or (kind.endswith("created") and _took_money(fields)),
        is_reinstated=kind.endswith("funds_reinstated"),
        occurred_at=datetime.fromtimestamp(picked["created"], UTC),
    )


def _took_money(fields: dict[str, Any]) -> bool:
    """Whether a new dispute says that Stripe has taken money for it.

    It takes none for an inquiry, for one that was prevented, and of what was refunded. Where it
    takes money later, that is an event of its own.
    """
    if "balance_transactions" in fields:
        return any(moved["amount"] < 0 for moved in fields["balance_transactions"])
    return not fields["status"].startswith(("warning_", "prevented"))


def _refund(fields: dict[str, Any], _picked: dict[str, Any]) -> Fact:
    if "payment_intent" not in fields:
        return NotNeeded("Not a payment of ours: the refund is of a charge of its own.")
    return RefundNews(
        stripe_refund_id=fields["id"],
        payment_intent_id=fields["payment_intent"],
        refund_id=fields.get("metadata", {}).get("refund_id", ""),
        status=fields["status"],
        amount_pence=fields["amount"],
        failure=fields.get("failure_reason", ""),
    )


def _topup_id(fields: dict[str, Any]) -> str:
    topup_id: str = fields.get("metadata", {}).get("topup_id", "")
    return topup_id


_READERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Fact]] = {
    "checkout.session.completed": _session,
    "checkout.session.async_payment_succeeded": _session,
    "checkout.session.async_payment_failed": _session,
    "checkout.session.expired": _session_expired,
    "payment_intent.succeeded": _intent,
    "payment_intent.processing": _intent,
    "payment_intent.payment_failed": _intent_failed,
    "payment_intent.canceled": _intent_canceled,
    "charge.refunded": _refunded,
    "charge.dispute.created": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
}


def _picked(values: object, allowed: dict[str, Any]) -> dict[str, Any]:
    """What of the values is allowed and usable. What is missing or unusable is left out."""
    if not isinstance(values, dict):
        return {}
    picked = {}
    for name, clean in allowed.items():
        value = values.get(name)
        cleaned = _picked(value, clean) if isinstance(clean, dict) else clean(value)
        if cleaned is not None and cleaned != {}:
            picked[name] = cleaned
    return picked


def _id(value: object) -> str | None:
    """The id of what is referred to, whether Stripe wrote the id or the thing itself."""
    return clean_text(value_at(value, "id") if isinstance(value, dict) else value)


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MAX_AMOUNT else None


def _movements(value: object) -> list[dict[str, int]] | None:
    """What moved on Stripe's balance; taken money is below 0."""
    if not isinstance(value, list):
        return None
    amounts = [value_at(each, "amount") for each in value]
    return [
        {"amount": amount}
        for amount in amounts
        if type(amount) is int and abs(amount) <= _MAX_AMOUNT
    ]


def _moment(value: object) -> int | None:
    # Later than 2100 is no date.
    return value if type(value) is int and 0 <= value < 4_102_444_800 else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_ENVELOPE: dict[str, Any] = {
    "id": clean_text,
    "type": clean_text,
    "created": _moment,
    "livemode": _truth,
}
_OBJECT: dict[str, Any] = {
    "object": clean_text,
    "id": clean_text,
    "status": clean_text,
    "payment_status": clean_text,
    "payment_intent": _id,
    "amount": _whole,
    "amount_total": _whole,
    "amount_refunded": _whole,
    "balance_transactions": _movements,
    "currency": clean_text,
    "reason": clean_text,
    "failure_reason": clean_text,
    "last_payment_error": {"code": clean_text, "message": clean_reason},
    "metadata": {"topup_id": clean_text, "organization_id": clean_text, "refund_id": clean_text},
}
