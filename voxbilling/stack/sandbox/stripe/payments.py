"""Payments: what becomes of a PaymentIntent, and the charge that each attempt leaves."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.stripe import cards
from voxbilling.stack.sandbox.stripe.cards import Decline
from voxbilling.stack.sandbox.stripe.errors import Refused
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.webhooks import Webhooks

_SMALLEST, _LARGEST = 30, 99_999_999
_CANCELLABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}
_CONFIRMABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}


@dataclass(kw_only=True)
class Bank:
    """How long the bank takes: for a card, and until a bank debit is through."""

    card_seconds: float = 0
    debit_seconds: float = 20


class Payments:
    """What happens to payments. `base_url` is this Stripe's own address."""

    def __init__(
        self, objects: Objects, webhooks: Webhooks, clock: Clock, *, base_url: str
    ) -> None:
        self.bank = Bank()
        self._objects = objects
        self._tell = webhooks.tell
        self._clock = clock
        self._base_url = base_url
        self._debits: set[asyncio.Task[None]] = set()
        # Told of payments that ended, one way or the other.
        self.on_end: list[Callable[[Object], None]] = []

    def begin(
        self,
        *,
        amount: int,
        currency: str,
        customer: str | None,
        metadata: dict[str, str],
        setup_future_usage: str | None = None,
        method_types: list[str] | None = None,
        description: str | None = None,
        session: str | None = None,
    ) -> Object:
        """A payment that nothing was tried for yet. `session` is the page that it is of."""
        return self._objects.add(
            "payment_intent",
            {
                "amount": amount,
                "amount_capturable": 0,
                "amount_received": 0,
                "canceled_at": None,
                "cancellation_reason": None,
                "capture_method": "automatic",
                "client_secret": None,
                "confirmation_method": "automatic",
                "currency": currency,
                "customer": customer,
                "description": description,
                "last_payment_error": None,
                "latest_charge": None,
                "metadata": metadata,
                "next_action": None,
                "payment_method": None,
                "payment_method_options": {},
                "payment_method_types": method_types or [cards.CARD],
                "processing": None,
                "receipt_email": None,
                "setup_future_usage": setup_future_usage,
                "shipping": None,
                "statement_descriptor": None,
                "status": "requires_payment_method",
                "_session": session,
                "_return_url": None,
            },
        )

    async def confirm(
        self, intent: Object, method: Object, *, off_session: bool, return_url: str | None = None
    ) -> Decline | None:
        """Try to take the money; what the bank had against it, if it had anything."""
        await self._clock.sleep(self.bank.card_seconds)
        # Looked at after the wait: another request may have been faster.
        if intent["status"] not in _CONFIRMABLE:
            raise _unexpected_state(self._objects, intent, "confirm")
        if method["_was_used"] and method["customer"] is None:
            raise Refused(
                400,
                "The provided PaymentMethod was previously used without being attached to a "
                "customer, or was detached, and may not be used again.",
                param="payment_method",
            )
        method["_was_used"] = True
        intent |= {
            "payment_method": method["id"],
            "last_payment_error": None,
            "next_action": None,
            "_return_url": return_url,
        }
        behaviour = cards.behaviour_of(method)
        decline = behaviour.decline or (behaviour.off_session_decline if off_session else None)
        was_kept = method.get("_may_be_charged_off_session", False)
        if decline is not None:
            self._fail(intent, method, decline, leaves_charge=True)
        elif behaviour.needs_authentication(was_kept=was_kept and off_session):
            if off_session:
                decline = cards.AUTHENTICATION_REQUIRED
                self._fail(intent, method, decline, leaves_charge=False)
            else:
                self._ask_to_authenticate(intent)
        elif behaviour.kind == cards.BANK_DEBIT:
            self._debit(intent, method)
        else:
            self._succeed(intent, method)
        return decline

    def authenticate(self, intent: Object, *, completed: bool) -> None:
        """The holder was asked by the bank, and did as it asked or did not."""
        if intent["status"] != "requires_action":
            raise _unexpected_state(self._objects, intent, "authenticate")
        method = self._objects.get("payment_method", intent["payment_method"])
        intent["next_action"] = None
        if completed:
            self._succeed(intent, method)
        else:
            self._fail(intent, method, cards.AUTHENTICATION_FAILED, leaves_charge=False)

    def settle_debit(self, intent: Object, *, succeeded: bool) -> None:
        """The bank says what became of a bank debit."""
        if intent["status"] != "processing":
            raise _unexpected_state(self._objects, intent, "settle")
        method = self._objects.get("payment_method", intent["payment_method"])
        if succeeded:
            self._succeed(intent, method)
        else:
            self._fail(intent, method, cards.BANK_REFUSED, leaves_charge=True)

    def cancel(self, intent: Object, reason: str | None) -> None:
        if intent["status"] not in _CANCELLABLE:
            raise _unexpected_state(self._objects, intent, "cancel")
        intent |= {
            "status": "canceled",
            "canceled_at": self._objects.now(),
            "cancellation_reason": reason,
            "next_action": None,
        }
        self._objects.changed()
        self._tell("payment_intent.canceled", intent)

    def keep_method(self, method: Object, customer: str, *, may_be_charged: bool) -> None:
        """Attach a method to a customer; `may_be_charged` if its holder let us, off-session."""
        if method["customer"] != customer:
            method["customer"] = customer
            self._tell("payment_method.attached", method)
        method["_may_be_charged_off_session"] = may_be_charged
        self._objects.changed()

    def authentication_url(self, intent: Object) -> str:
        return f"{self._base_url}/authenticate/{intent['id']}"

    def expect_debits(self) -> None:
        """Wait anew for the debits that were on their way when the sandbox stopped."""
        for intent in self._objects.newest_first("payment_intent"):
            if intent["status"] == "processing":
                self._spawn(self._settle_later(intent))

    def _succeed(self, intent: Object, method: Object) -> None:
        charge = self._charge(intent, method, decline=None, status="succeeded")
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
            "processing": None,
        }
        if intent["setup_future_usage"] == "off_session" and intent["customer"] is not None:
            self.keep_method(method, intent["customer"], may_be_charged=True)
        self._objects.changed()
        self._tell("charge.succeeded", charge)
        self._tell("payment_intent.succeeded", intent)
        self._end(intent)

    def _fail(
        self, intent: Object, method: Object, decline: Decline, *, leaves_charge: bool
    ) -> None:
        was_processing = intent["status"] == "processing"
        error: Object = {
            "type": "card_error",
            "code": decline.code,
            "message": decline.message,
            "payment_method": self._objects.shown(method),
        }
        if decline.decline_code is not None:
            error["decline_code"] = decline.decline_code
        if leaves_charge:
            charge = self._charge(intent, method, decline=decline, status="failed")
            error["charge"] = charge["id"]
            self._tell("charge.failed", charge)
        intent |= {
            "status": "requires_payment_method",
            "last_payment_error": error,
            "payment_method": None,
            "processing": None,
        }
        self._objects.changed()
        self._tell("payment_intent.payment_failed", intent)
        if was_processing:
            self._end(intent)

    def _ask_to_authenticate(self, intent: Object) -> None:
        url = self.authentication_url(intent)
        intent |= {
            "status": "requires_action",
            "next_action": {
                "type": "redirect_to_url",
                "redirect_to_url": {"url": url, "return_url": intent["_return_url"]},
            },
        }
        self._objects.changed()
        self._tell("payment_intent.requires_action", intent)

    def _debit(self, intent: Object, method: Object) -> None:
        charge = self._charge(intent, method, decline=None, status="pending")
        intent["status"] = "processing"
        self._objects.changed()
        self._tell("charge.pending", charge)
        self._tell("payment_intent.processing", intent)
        self._spawn(self._settle_later(intent))

    async def _settle_later(self, intent: Object) -> None:
        await self._clock.sleep(self.bank.debit_seconds)
        # A control may have been faster.
        if intent["status"] == "processing":
            method = self._objects.get("payment_method", intent["payment_method"])
            self.settle_debit(intent, succeeded=not cards.behaviour_of(method).fails_later)

    def _charge(
        self, intent: Object, method: Object, *, decline: Decline | None, status: str
    ) -> Object:
        """The charge of this attempt; that of a bank debit is there already when it ends."""
        outcome = {
            "status": status,
            "paid": status == "succeeded",
            "captured": status != "failed",
            "amount_captured": 0 if status == "failed" else intent["amount"],
            "failure_code": decline and (decline.decline_code or decline.code),
            "failure_message": decline and decline.message,
        }
        if intent["status"] == "processing":
            charge = self._objects.get("charge", intent["latest_charge"])
            charge |= outcome
            return charge
        charge = self._objects.add(
            "charge",
            {
                "amount": intent["amount"],
                "amount_refunded": 0,
                "balance_transaction": None,
                "billing_details": dict(method["billing_details"]),
                "currency": intent["currency"],
                "customer": intent["customer"],
                "description": intent["description"],
                "disputed": False,
                "metadata": dict(intent["metadata"]),
                "payment_intent": intent["id"],
                "payment_method": method["id"],
                "payment_method_details": cards.details_of(method),
                "receipt_url": None,
                "refunded": False,
                **outcome,
            },
        )
        intent["latest_charge"] = charge["id"]
        return charge

    def _end(self, intent: Object) -> None:
        for told in self.on_end:
            told(intent)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._debits.add(task)
        task.add_done_callback(self._debits.discard)


def check_amount(amount: int, currency: str, *, param: str) -> None:
    if amount < _SMALLEST:
        raise Refused(
            400,
            f"Amount must be at least {_SMALLEST} {currency}.",
            code="amount_too_small",
            param=param,
        )
    if amount > _LARGEST:
        raise Refused(400, "Amount is too large.", code="amount_too_large", param=param)


def _unexpected_state(objects: Objects, intent: Object, act: str) -> Refused:
    return Refused(
        400,
        f"You cannot {act} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
        more={"payment_intent": objects.shown(intent)},
    )
