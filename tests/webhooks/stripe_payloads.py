"""Events as Stripe sends them, with what billing has to see past."""

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]

# 22 November 2026, 12:00 UTC.
CREATED = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
# What must never reach the disk.
PRIVATE = {
    "customer_details": {"email": "ada@example.com", "name": "Ada Byron"},
    "billing_details": {"address": {"line1": "12 St James's Square"}},
    "payment_method_details": {"card": {"last4": "4242"}},
    "client_secret": "pi_secret",
}

_serial = itertools.count(1)


def event(kind: str, thing: dict[str, Any], **envelope: Any) -> Event:
    return {
        "id": f"evt_{next(_serial)}_{uuid.uuid4().hex}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
        "data": {"object": {**PRIVATE, **thing}},
        **envelope,
    }


@dataclass
class StripePayment:
    """A payment of a top-up, as its events tell of it. `topup_id=None` for one that is not ours."""

    topup_id: Any
    amount: int
    currency: str = "gbp"
    id: str = field(default_factory=lambda: f"pi_{uuid.uuid4().hex}")

    @property
    def metadata(self) -> dict[str, str]:
        return {"topup_id": str(self.topup_id)} if self.topup_id else {}

    def session(
        self, kind: str = "completed", payment_status: str = "paid", **fields: Any
    ) -> Event:
        return event(
            f"checkout.session.{kind}",
            {
                "id": f"cs_{self.id}",
                "object": "checkout.session",
                "status": "complete",
                "payment_status": payment_status,
                "payment_intent": self.id,
                "amount_total": self.amount,
                "currency": self.currency,
                "metadata": self.metadata,
                **fields,
            },
        )

    def intent(self, kind: str = "succeeded", **fields: Any) -> Event:
        return event(
            f"payment_intent.{kind}",
            {
                "id": self.id,
                "object": "payment_intent",
                "status": kind,
                "amount": self.amount,
                "amount_received": self.amount if kind == "succeeded" else 0,
                "currency": self.currency,
                "metadata": self.metadata,
                **fields,
            },
        )

    def refunded(self, total: int, **fields: Any) -> Event:
        """`total` is cumulative."""
        return event(
            "charge.refunded",
            {
                "id": f"ch_{self.id}",
                "object": "charge",
                "payment_intent": self.id,
                "amount": self.amount,
                "amount_refunded": total,
                "currency": self.currency,
                "metadata": self.metadata,
                **fields,
            },
        )

    def refund(
        self, kind: str, stripe_refund_id: str, amount: int, *, status: str, refund_id: Any = None
    ) -> Event:
        return event(
            f"refund.{kind}",
            {
                "id": stripe_refund_id,
                "object": "refund",
                "payment_intent": self.id,
                "amount": amount,
                "currency": self.currency,
                "status": status,
                "failure_reason": "expired_or_canceled_card" if status == "failed" else None,
                "metadata": {"refund_id": str(refund_id)} if refund_id else {},
            },
        )

    def dispute(
        self,
        kind: str = "created",
        *,
        status: str = "needs_response",
        amount: int | None = None,
        dispute_id: str | None = None,
        **fields: Any,
    ) -> Event:
        amount = self.amount if amount is None else amount
        moved = [] if status.startswith(("warning_", "prevented")) else [-amount]
        moved += [amount] if kind == "funds_reinstated" else []
        return event(
            f"charge.dispute.{kind}",
            {
                "id": dispute_id or f"dp_{self.id}",
                "object": "dispute",
                "payment_intent": self.id,
                "charge": f"ch_{self.id}",
                "amount": amount,
                "balance_transactions": [
                    {"id": "txn_1", "object": "balance_transaction", "amount": each, "net": each}
                    for each in moved
                ],
                "currency": self.currency,
                "reason": "fraudulent",
                "status": status,
                "metadata": {},
                **fields,
            },
        )
