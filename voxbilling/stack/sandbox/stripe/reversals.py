"""Money that goes back: refunds, from here or from Stripe's dashboard, and disputes."""

from collections.abc import Iterable

from voxbilling.stack.sandbox.stripe.errors import Refused
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.webhooks import Webhooks

_OPEN_DISPUTES = {"needs_response", "warning_needs_response"}


class Reversals:
    """What goes back of charges. `refunds_begin_as` is succeeded, or pending as for bank debits."""

    def __init__(self, objects: Objects, webhooks: Webhooks) -> None:
        self.refunds_begin_as = "succeeded"
        self._objects = objects
        self._tell = webhooks.tell

    def charge_of(self, payment_intent_id: str) -> Object:
        """The charge that took a payment's money. Raises Refused if there is none."""
        intent = self._objects.get("payment_intent", payment_intent_id, param="payment_intent")
        if intent["status"] != "succeeded":
            raise Refused(
                400,
                f"This PaymentIntent ({payment_intent_id}) does not have a successful charge to "
                "refund.",
                param="payment_intent",
            )
        return self._objects.get("charge", intent["latest_charge"], param="payment_intent")

    def refund(
        self, charge: Object, amount: int | None, *, metadata: dict[str, str], reason: str | None
    ) -> Object:
        """Give a part of a charge back, or all that is left of it."""
        left = charge["amount"] - charge["amount_refunded"]
        if not left:
            raise Refused(
                400,
                f"Charge {charge['id']} has already been refunded.",
                code="charge_already_refunded",
            )
        if any(dispute["_is_withdrawn"] for dispute in self._disputes_of(charge)):
            raise Refused(
                400,
                f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                code="charge_disputed",
            )
        amount = left if amount is None else amount
        if not 1 <= amount <= left:
            raise Refused(
                400,
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}), "
                "or is 0.",
                param="amount",
            )
        refund = self._objects.add(
            "refund",
            {
                "amount": amount,
                "balance_transaction": None,
                "charge": charge["id"],
                "currency": charge["currency"],
                "metadata": metadata,
                "payment_intent": charge["payment_intent"],
                "reason": reason,
                "receipt_number": None,
                "status": self.refunds_begin_as,
            },
        )
        self._count(charge, amount)
        self._tell("refund.created", refund)
        self._tell("charge.refunded", charge)
        return refund

    def complete(self, refund: Object) -> None:
        """A refund that was pending went through."""
        if refund["status"] != "pending":
            raise Refused(400, f"The refund is {refund['status']}, not pending.")
        refund["status"] = "succeeded"
        self._objects.changed()
        self._tell("refund.updated", refund)

    def fail(self, refund: Object) -> None:
        """The bank could not take a refund, maybe days later: the money is here again."""
        if refund["status"] not in {"pending", "succeeded"}:
            raise Refused(400, f"The refund is {refund['status']} already.")
        refund |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
        self._count(self._objects.get("charge", refund["charge"]), -refund["amount"])
        self._tell("refund.updated", refund)
        self._tell("refund.failed", refund)

    def dispute(
        self, charge: Object, amount: int | None, *, reason: str, is_inquiry: bool
    ) -> Object:
        """The holder contests a charge. An inquiry only asks, and takes no money yet."""
        amount = charge["amount"] if amount is None else amount
        if not 1 <= amount <= charge["amount"]:
            raise Refused(400, f"amount is 1 to {charge['amount']}.", param="amount")
        if any(dispute["status"] in _OPEN_DISPUTES for dispute in self._disputes_of(charge)):
            raise Refused(400, "The charge is in dispute already.")
        dispute = self._objects.add(
            "dispute",
            {
                "amount": amount,
                "balance_transactions": [],
                "charge": charge["id"],
                "currency": charge["currency"],
                "evidence": {},
                "evidence_details": {"due_by": None, "has_evidence": False, "submission_count": 0},
                "is_charge_refundable": is_inquiry,
                "metadata": {},
                "payment_intent": charge["payment_intent"],
                "reason": reason,
                "status": "warning_needs_response" if is_inquiry else "needs_response",
                "_is_withdrawn": False,
            },
        )
        charge["disputed"] = True
        if is_inquiry:
            self._tell("charge.dispute.created", dispute)
        else:
            self._move(dispute, withdrawn=True)
            self._tell("charge.dispute.created", dispute)
            self._tell("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def escalate(self, dispute: Object) -> None:
        """An inquiry becomes a dispute, which takes the money."""
        _must_be(dispute, {"warning_needs_response"})
        dispute |= {"status": "needs_response", "is_charge_refundable": False}
        self._move(dispute, withdrawn=True)
        self._tell("charge.dispute.updated", dispute)
        self._tell("charge.dispute.funds_withdrawn", dispute)

    def close(self, dispute: Object, *, won: bool) -> None:
        """The bank decides. A won dispute gives the money back; an inquiry only ends."""
        _must_be(dispute, _OPEN_DISPUTES)
        if dispute["status"] == "warning_needs_response":
            dispute["status"] = "warning_closed"
        elif won:
            dispute["status"] = "won"
            self._move(dispute, withdrawn=False)
            self._tell("charge.dispute.funds_reinstated", dispute)
        else:
            dispute["status"] = "lost"
        self._objects.changed()
        self._tell("charge.dispute.closed", dispute)

    def _disputes_of(self, charge: Object) -> Iterable[Object]:
        disputes = self._objects.newest_first("dispute")
        return (dispute for dispute in disputes if dispute["charge"] == charge["id"])

    def _count(self, charge: Object, amount: int) -> None:
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self._objects.changed()

    def _move(self, dispute: Object, *, withdrawn: bool) -> None:
        """Note that the disputed money left or came back, as Stripe's balance shows it."""
        amount = -dispute["amount"] if withdrawn else dispute["amount"]
        dispute["_is_withdrawn"] = withdrawn
        dispute["balance_transactions"].append(
            {
                "id": f"txn_{dispute['id']}_{len(dispute['balance_transactions'])}",
                "object": "balance_transaction",
                "amount": amount,
                "created": self._objects.now(),
                "currency": dispute["currency"],
                "fee": 0,
                "net": amount,
                "reporting_category": "dispute" if withdrawn else "dispute_reversal",
                "source": dispute["id"],
                "status": "available",
                "type": "adjustment",
            }
        )
        self._objects.changed()


def _must_be(dispute: Object, statuses: set[str]) -> None:
    if dispute["status"] not in statuses:
        raise Refused(400, f"The dispute is {dispute['status']} already.")
