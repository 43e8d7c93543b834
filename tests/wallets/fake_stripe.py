"""Stripe as the SDK sees it, in the place of httpx.request, and what can go wrong with it."""

import itertools
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from django.db import connection

from wallets.payments import stripe_client

CREATED = 1_795_348_800

Thing = dict[str, Any]


@dataclass
class Fault:
    """What the next request to a path meets, before or after it was done."""

    what: int | type[httpx.HTTPError]
    body: Thing
    done: bool


@dataclass
class FakeStripe:
    """`asked` has every request as `METHOD path`, `in_transaction` those that were asked in one."""

    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    in_transaction: list[str] = field(default_factory=list)
    refunds: list[Thing] = field(default_factory=list)
    sessions: dict[str, Thing] = field(default_factory=dict)
    intents: dict[str, Thing] = field(default_factory=dict)
    methods: dict[str, Thing] = field(default_factory=dict)
    undelivered: list[Thing] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, tuple[int, Thing]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)
    serial: Any = field(default_factory=lambda: itertools.count(1))

    def fail(
        self, path: str, what: Any, *, done: bool = False, times: int = 1, **error: Any
    ) -> None:
        self.faults[path] += [Fault(what, {"error": error}, done)] * times

    def count(self, asked: str) -> int:
        return self.asked.count(asked)

    def request(self, method: str, url: str, **sent: Any) -> httpx.Response:
        path = urlsplit(url).path.removeprefix("/v1/")
        form = dict(parse_qsl(sent.get("content") or "")) | dict(parse_qsl(urlsplit(url).query))
        with self.lock:
            self.asked.append(f"{method.upper()} {path}")
            self.forms.append(form)
            if connection.in_atomic_block:
                self.in_transaction.append(path)
            faults = self.faults[path]
            fault = faults.pop(0) if faults else None
            if fault is None or fault.done:
                status, body = self._once(
                    sent["headers"].get("Idempotency-Key"), method, path, form
                )
        if fault is not None:
            if isinstance(fault.what, type):
                raise fault.what("gone")
            status, body = fault.what, fault.body
        return httpx.Response(status, content=json.dumps(body).encode())

    def _once(self, key: str | None, method: str, path: str, form: Thing) -> tuple[int, Thing]:
        """The same answer for the same key, as Stripe gives it for a day."""
        if key is not None and key in self.answers:
            return self.answers[key]
        answer = self._do(method.upper(), path, form)
        if key is not None:
            self.answers[key] = answer
        return answer

    def _do(self, method: str, path: str, form: Thing) -> tuple[int, Thing]:
        match [method, *path.split("/")]:
            case ["POST", "customers"]:
                return 200, {"id": f"cus_{next(self.serial)}", "object": "customer"}
            case ["POST", "checkout", "sessions"]:
                return 200, self._new_session(form)
            case ["GET", "checkout", "sessions", session_id]:
                return self._found(self.sessions, session_id)
            case ["GET", "payment_intents", intent_id]:
                return self._found(self.intents, intent_id)
            case ["GET", "payment_methods", method_id]:
                return self._found(self.methods, method_id)
            case ["POST", "payment_methods", method_id, "detach"]:
                return self._found(self.methods, method_id)
            case ["POST", "refunds"]:
                return self._refund(form)
            case ["GET", "refunds"]:
                of = [
                    each
                    for each in self.refunds
                    if each["payment_intent"] == form["payment_intent"]
                ]
                return 200, listed(of)
            case ["GET", "events"]:
                return 200, listed(self._events(form))
        raise AssertionError(f"nobody should ask {method} {path}")

    def _new_session(self, form: Thing) -> Thing:
        session = {
            "id": f"cs_{next(self.serial)}",
            "object": "checkout.session",
            "status": "open",
            "payment_status": "unpaid",
            "payment_intent": None,
            "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
            "currency": form["line_items[0][price_data][currency]"],
            "livemode": False,
        }
        session["url"] = f"https://checkout.stripe.com/c/pay/{session['id']}"
        self.sessions[session["id"]] = session
        return session

    def _refund(self, form: Thing) -> tuple[int, Thing]:
        refund = {
            "id": f"re_{next(self.serial)}",
            "object": "refund",
            "payment_intent": form["payment_intent"],
            "amount": int(form["amount"]),
            "status": "succeeded",
            "metadata": {"refund_id": form["metadata[refund_id]"]},
        }
        self.refunds.append(refund)
        return 200, refund

    def _events(self, form: Thing) -> list[Thing]:
        events = self.undelivered
        if after := form.get("starting_after"):
            events = events[[event["id"] for event in events].index(after) + 1 :]
        return events[: int(form["limit"])]

    def _found(self, things: dict[str, Thing], name: str) -> tuple[int, Thing]:
        if name in things:
            return 200, things[name]
        return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing"}}

    def add_intent(self, intent_id: str, **fields: Any) -> Thing:
        self.intents[intent_id] = {
            "id": intent_id,
            "object": "payment_intent",
            "status": "succeeded",
            "amount": 5_000,
            "currency": "gbp",
            "customer": "cus_1",
            "payment_method": "pm_1",
            "metadata": {},
            "livemode": False,
            "created": CREATED,
            **fields,
        }
        return self.intents[intent_id]

    def add_card(self, method_id: str, *, customer: str | None, kind: str = "card") -> None:
        self.methods[method_id] = {
            "id": method_id,
            "object": "payment_method",
            "type": kind,
            "customer": customer,
            "card": {"brand": "visa", "last4": "4242"} if kind == "card" else None,
        }


def listed(things: list[Thing]) -> Thing:
    return {"object": "list", "url": "/v1/things", "has_more": False, "data": things}


@pytest.fixture
def fake_stripe(monkeypatch: pytest.MonkeyPatch, settings: Any) -> FakeStripe:
    settings.STRIPE_SECRET_KEY = "sk_test_key"
    settings.STRIPE_API_URL = "https://stripe.test"
    settings.SITE_URL = "https://billing.example.com"
    fake = FakeStripe()
    monkeypatch.setattr(stripe_client.httpx, "request", fake.request)
    return fake
