"""Checkout: sessions that sell one thing on a page, which takes the payment and leads back."""

from datetime import timedelta
from typing import Any

from voxbilling.stack.sandbox.stripe import cards
from voxbilling.stack.sandbox.stripe.cards import Decline
from voxbilling.stack.sandbox.stripe.errors import Refused
from voxbilling.stack.sandbox.stripe.forms import Params
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.payments import Payments, check_amount
from voxbilling.stack.sandbox.stripe.webhooks import Webhooks

SESSION_FIELDS = frozenset(
    {
        *("mode", "customer", "customer_email", "client_reference_id", "line_items", "metadata"),
        *("payment_intent_data", "payment_method_types", "success_url", "cancel_url"),
        *("expires_at", "locale", "submit_type", "custom_text", "customer_creation"),
        *("billing_address_collection", "saved_payment_method_options", "ui_mode"),
    }
)
_PAYMENT_FIELDS = {"metadata", "setup_future_usage", "description"}
_DAY_SECONDS = int(timedelta(days=1).total_seconds())
_SHORTEST_SECONDS = int(timedelta(minutes=30).total_seconds())


class Checkout:
    """The sessions, and what paying on their pages does. `base_url` is this Stripe's address."""

    def __init__(
        self, objects: Objects, webhooks: Webhooks, payments: Payments, *, base_url: str
    ) -> None:
        self._objects = objects
        self._tell = webhooks.tell
        self._payments = payments
        self._base_url = base_url
        payments.on_end.append(self._payment_ended)

    def create(self, params: Params) -> Object:
        if params.needed("mode") != "payment":
            raise Refused(400, "This sandbox knows mode=payment only.", param="mode")
        customer = params.text("customer")
        if customer is not None:
            self._objects.get("customer", customer, param="customer")
        currency, total, name = _sold(params.each("line_items"))
        check_amount(total, currency, param="line_items")
        payment = params.inside("payment_intent_data")
        payment.only(_PAYMENT_FIELDS)
        usage = payment.text("setup_future_usage")
        if usage not in {None, "on_session", "off_session"}:
            raise Refused(400, f"Invalid setup_future_usage: {usage}", param="payment_intent_data")
        types = params.texts("payment_method_types") or [cards.CARD, cards.BANK_DEBIT]
        now = self._objects.now()
        expires_at = params.whole("expires_at") or now + _DAY_SECONDS
        if not now + _SHORTEST_SECONDS <= expires_at <= now + _DAY_SECONDS:
            raise Refused(
                400,
                "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.",
                param="expires_at",
            )
        session = self._objects.add(
            "checkout.session",
            {
                "amount_subtotal": total,
                "amount_total": total,
                "automatic_tax": {"enabled": False, "liability": None, "status": None},
                "cancel_url": params.text("cancel_url"),
                "client_reference_id": params.text("client_reference_id"),
                "currency": currency,
                "custom_fields": [],
                "customer": customer,
                "customer_details": None,
                "customer_email": params.text("customer_email"),
                "expires_at": expires_at,
                "metadata": params.metadata(),
                "mode": "payment",
                # It is made when somebody tries to pay.
                "payment_intent": None,
                "payment_method_types": types,
                "payment_status": "unpaid",
                "shipping_options": [],
                "status": "open",
                "success_url": params.needed("success_url"),
                "ui_mode": "hosted_page",
                "url": None,
                "_name": name,
                "_payment": {
                    "metadata": payment.metadata(),
                    "setup_future_usage": usage,
                    "description": payment.text("description"),
                },
            },
        )
        session["url"] = f"{self._base_url}/checkout/{session['id']}"
        return session

    def find(self, session_id: str) -> Object:
        """A session as it is by now. Raises Refused."""
        session = self._objects.get("checkout.session", session_id)
        self._look_at_the_time(session)
        return session

    def bring_up_to_date(self) -> None:
        """Let those sessions expire whose time is over."""
        for session in self._objects.newest_first("checkout.session"):
            self._look_at_the_time(session)

    def expire(self, session: Object) -> None:
        if session["status"] != "open":
            raise Refused(
                400,
                'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
                f"Session has a status of `{session['status']}`.",
            )
        session |= {"status": "expired", "url": None}
        if session["payment_intent"] is not None:
            self._payments.cancel(self._intent_of(session), "expired")
        self._objects.changed()
        self._tell("checkout.session.expired", session)

    async def pay(self, session: Object, method: Object) -> Decline | None:
        """What the page does when its button is pressed. Raises Refused if it is not open."""
        if session["status"] != "open":
            raise Refused(400, "This page was paid or has expired.")
        if session["payment_intent"] is None:
            intent = self._payments.begin(
                amount=session["amount_total"],
                currency=session["currency"],
                customer=session["customer"],
                method_types=session["payment_method_types"],
                session=session["id"],
                **session["_payment"],
            )
            session["payment_intent"] = intent["id"]
        intent = self._intent_of(session)
        decline = await self._payments.confirm(
            intent, method, off_session=False, return_url=session["url"]
        )
        if intent["status"] == "processing":
            self._complete(session, paid=False)
        return decline

    def waits_for_authentication(self, session: Object) -> str | None:
        """Where the bank wants to see the holder of the card, if it does."""
        if session["payment_intent"] is None:
            return None
        intent = self._intent_of(session)
        if intent["status"] != "requires_action":
            return None
        return self._payments.authentication_url(intent)

    def _payment_ended(self, intent: Object) -> None:
        if intent["_session"] is None:
            return
        session = self._objects.get("checkout.session", intent["_session"])
        succeeded = intent["status"] == "succeeded"
        if session["status"] == "open":
            self._complete(session, paid=succeeded)
        elif succeeded:
            session["payment_status"] = "paid"
            self._objects.changed()
            self._tell("checkout.session.async_payment_succeeded", session)
        else:
            self._tell("checkout.session.async_payment_failed", session)

    def _complete(self, session: Object, *, paid: bool) -> None:
        session |= {
            "status": "complete",
            "payment_status": "paid" if paid else "unpaid",
            "url": None,
        }
        self._objects.changed()
        self._tell("checkout.session.completed", session)

    def _intent_of(self, session: Object) -> Object:
        return self._objects.get("payment_intent", session["payment_intent"])

    def _look_at_the_time(self, session: Object) -> None:
        if session["status"] == "open" and session["expires_at"] <= self._objects.now():
            self.expire(session)


def _sold(items: list[Params]) -> tuple[str, int, str]:
    """The currency, the total and the name of what is sold."""
    if not items:
        raise Refused(400, "Missing required param: line_items.", param="line_items")
    total, currencies, names = 0, set(), []
    for item in items:
        item.only({"price_data", "quantity"})
        price = item.inside("price_data")
        price.only({"currency", "unit_amount", "product_data"})
        quantity: Any = item.whole("quantity")
        total += price.needed_whole("unit_amount") * (1 if quantity is None else quantity)
        currencies.add(price.needed("currency").lower())
        names.append(price.inside("product_data").needed("name"))
    if len(currencies) > 1:
        raise Refused(400, "All line items must have the same currency.", param="line_items")
    return currencies.pop(), total, ", ".join(names)
