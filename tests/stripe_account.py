"""One customer's dealings with the sandbox's Stripe, for tests: the official SDK, and its pages."""

import time
from typing import Any

import httpx
import stripe

from tests.stripe_listener import Listener

PAYS, DECLINED, WITHOUT_FUNDS = "4242424242424242", "4000000000000002", "4000000000009995"
AUTHENTICATES_ONCE, AUTHENTICATES_ALWAYS = "4000002500003155", "4000002760003184"
DECLINED_OFF_SESSION = "4000000000000341"
ACCOUNT_PAYS, ACCOUNT_FAILS = "00012345", "22222227"
_QUIET_SECONDS = 20


class Account:
    def __init__(self, sandbox_url: str) -> None:
        self.client = stripe.StripeClient(
            "sk_test_for_tests",
            base_addresses={"api": f"{sandbox_url}/stripe"},
            max_network_retries=0,
        )
        self.v1 = self.client.v1
        self.browser = httpx.Client(trust_env=False)
        self.sandbox = httpx.Client(base_url=f"{sandbox_url}/stripe/sandbox", trust_env=False)
        self.faults = httpx.Client(base_url=sandbox_url, trust_env=False)

    def close(self) -> None:
        for client in (self.browser, self.sandbox, self.faults):
            client.close()

    def control(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.sandbox.post(f"/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def fault(self, operation: str, fault: str, **more: Any) -> None:
        body = {"provider": "stripe", "operation": operation, "fault": fault, **more}
        answer = self.faults.post("/faults", json=body)
        assert answer.status_code == 201, answer.text

    def customer(self, **fields: Any) -> stripe.Customer:
        return self.v1.customers.create(params=fields)

    def session(
        self, customer: str, amount: int = 2500, *, keeps_card: bool = False, **more: Any
    ) -> stripe.checkout.Session:
        payment: dict[str, Any] = {"metadata": {"topup": "one"}}
        if keeps_card:
            payment["setup_future_usage"] = "off_session"
        price = {
            "currency": "gbp",
            "unit_amount": amount,
            "product_data": {"name": "Credit for calls"},
        }
        params: Any = {
            "mode": "payment",
            "customer": customer,
            "client_reference_id": "one",
            "line_items": [{"price_data": price, "quantity": 1}],
            "metadata": {"topup": "one"},
            "payment_intent_data": payment,
            "success_url": "http://seller.example/paid?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://seller.example/cancelled",
            **more,
        }
        return self.v1.checkout.sessions.create(params=params)

    def pay(self, session: stripe.checkout.Session, card_number: str) -> httpx.Response:
        """What the page answers when its button is pressed; the way onward is not taken."""
        return self.browser.post(str(session.url), data={"card_number": card_number})

    def pay_by_debit(self, session: stripe.checkout.Session, number: str) -> httpx.Response:
        return self.browser.post(str(session.url), data={"account_number": number})

    def paid(self, amount: int = 2500, **how: Any) -> stripe.PaymentIntent:
        """A payment that a new customer made on a page."""
        session = self.session(self.customer().id, amount, **how)
        assert self.pay(session, PAYS).status_code == 303
        return self.intent_of(session)

    def intent_of(self, session: stripe.checkout.Session) -> stripe.PaymentIntent:
        now = self.v1.checkout.sessions.retrieve(session.id, params={"expand": ["payment_intent"]})
        assert isinstance(now.payment_intent, stripe.PaymentIntent)
        return now.payment_intent

    def kept_card(self, customer: str, number: str) -> str:
        card_id: str = self.control("cards", customer=customer, number=number)["id"]
        return card_id

    def charge_off_session(
        self, customer: str, card: str, amount: int = 2500, *, key: str | None = None
    ) -> stripe.PaymentIntent:
        params: Any = {
            "amount": amount,
            "currency": "gbp",
            "customer": customer,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
            "metadata": {"topup": "two"},
        }
        options: Any = {"idempotency_key": key} if key else {}
        return self.v1.payment_intents.create(params=params, options=options)

    def wait_until_heard(self, listener: Listener, *types: str) -> None:
        """Wait until these events arrived; their order is free."""
        give_up_at = time.monotonic() + _QUIET_SECONDS
        while not set(types) <= set(listener.types):
            assert time.monotonic() < give_up_at, f"heard only {listener.types}"
            time.sleep(0.02)

    def wait_until_quiet(self) -> None:
        """Wait until no event is on its way any more."""
        give_up_at = time.monotonic() + _QUIET_SECONDS
        while self.sandbox.get("/webhooks").json()["on_their_way"]:
            assert time.monotonic() < give_up_at, "events are still on their way"
            time.sleep(0.02)
