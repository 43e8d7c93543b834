"""PaymentIntents over the API: most of all, charging a card while its holder is not there."""

from starlette.requests import Request

from voxbilling.stack.sandbox.stripe import cards
from voxbilling.stack.sandbox.stripe.errors import Refused
from voxbilling.stack.sandbox.stripe.forms import Params
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.payments import Payments, check_amount

CONFIRM_FIELDS = frozenset({"payment_method", "off_session", "return_url"})
CREATE_FIELDS = CONFIRM_FIELDS | {
    *("amount", "currency", "customer", "confirm", "metadata", "description"),
    *("payment_method_types", "automatic_payment_methods", "setup_future_usage"),
}


class Intents:
    def __init__(self, objects: Objects, payments: Payments) -> None:
        self._objects = objects
        self._payments = payments

    async def create(self, _request: Request, params: Params) -> Object:
        amount, currency = params.needed_whole("amount"), params.needed("currency").lower()
        check_amount(amount, currency, param="amount")
        customer, confirm = params.text("customer"), params.truth("confirm")
        if customer is not None:
            self._objects.get("customer", customer, param="customer")
        if params.truth("off_session") and not confirm:
            raise Refused(
                400, "You can only pass off_session when confirm is true.", param="off_session"
            )
        method = self._method(params, customer)
        intent = self._payments.begin(
            amount=amount,
            currency=currency,
            customer=customer,
            metadata=params.metadata(),
            setup_future_usage=params.text("setup_future_usage"),
            method_types=params.texts("payment_method_types") or [cards.CARD],
            description=params.text("description"),
        )
        if method is not None:
            intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        return await self._confirm(intent, params) if confirm else self._shown(intent, params)

    async def confirm(self, request: Request, params: Params) -> Object:
        return await self._confirm(self._not_of_a_page(request), params)

    async def cancel(self, request: Request, params: Params) -> Object:
        intent = self._not_of_a_page(request)
        self._payments.cancel(intent, params.text("cancellation_reason"))
        return self._shown(intent, params)

    async def _confirm(self, intent: Object, params: Params) -> Object:
        method = self._method(params, intent["customer"])
        if method is None and intent["payment_method"] is not None:
            method = self._objects.get("payment_method", intent["payment_method"])
        if method is None:
            raise Refused(
                400,
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
            )
        decline = await self._payments.confirm(
            intent,
            method,
            off_session=params.truth("off_session") or False,
            return_url=params.text("return_url"),
        )
        if decline is None:
            return self._shown(intent, params)
        shown = self._objects.shown(intent)
        error = dict(shown["last_payment_error"])
        raise Refused(
            402,
            decline.message,
            kind="card_error",
            code=decline.code,
            more={**error, "payment_intent": shown},
        )

    def _method(self, params: Params, customer: str | None) -> Object | None:
        """What the parameters say to pay with. It must be the customer's own, or nobody's."""
        if params.text("payment_method") is None:
            return None
        name = params.needed("payment_method")
        method = self._objects.get("payment_method", name, param="payment_method")
        if method["customer"] not in {None, customer}:
            raise Refused(
                400,
                "The payment method belongs to another customer: send the customer to whom it is "
                "attached.",
                param="payment_method",
            )
        return method

    def _not_of_a_page(self, request: Request) -> Object:
        intent = self._objects.get("payment_intent", request.path_params["id"])
        if intent["_session"] is not None:
            raise Refused(
                400,
                "This PaymentIntent was made by Checkout, and is confirmed and canceled there: "
                "expire the Checkout Session instead.",
                code="payment_intent_unexpected_state",
            )
        return intent

    def _shown(self, intent: Object, params: Params) -> Object:
        return self._objects.shown(intent, params.texts("expand"))
