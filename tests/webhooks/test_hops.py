"""One webhook can be followed: view, inbox, life of the call, ledger. No signals, no surprises."""

import gc
import sys
from types import FrameType
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import connection
from django.db.models.signals import post_migrate
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import START, Clock, Vapi, after
from tests.webhooks.vapi_answer_validator import is_accepted
from tests.webhooks.vapi_payloads import VapiCall, encoded
from wallets import ledger

APPS = ("voxbilling", "wallets", "telephony", "calls", "webhooks")


@pytest.fixture
def call(db: None) -> VapiCall:
    return VapiCall(
        number=PhoneNumberFactory(organization=OrganizationFactory(funded_pence=10_000))
    )


def ours(module: str | None) -> bool:
    return bool(module) and module.partition(".")[0] in APPS


def hops(frame: FrameType | None) -> list[str]:
    """The public functions of ours that led here, outermost first."""
    passed: list[str] = []
    while frame is not None:
        module, name = frame.f_globals.get("__name__"), frame.f_code.co_qualname
        # A function within a function is a decorator's, and not one that anybody calls.
        # Nor is middleware: every request passes all of it.
        is_middleware = module in {"voxbilling.lanes", "voxbilling.content_security"}
        if ours(module) and not is_middleware and not name.startswith("_") and "<" not in name:
            passed.insert(0, f"{module}.{name}")
        frame = frame.f_back
    return passed


@pytest.mark.parametrize(
    ("kind", "ledger_function", "expected"),
    [
        ("assistant-request", "reserve_call_credits", "authorize"),
        ("status-update", "reserve_call_credits", "progress"),
        ("end-of-call-report", "commit_reserved_credits", "settle"),
    ],
)
def test_given_a_webhook_when_it_reaches_the_ledger_then_it_came_in_four_hops(
    vapi: Vapi,
    clock: Clock,
    call: VapiCall,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    ledger_function: str,
    expected: str,
) -> None:
    message = {
        "assistant-request": call.assistant_request(START),
        "status-update": call.status("in-progress", START),
        "end-of-call-report": call.report(START, after(1)),
    }[kind]
    real = getattr(ledger, ledger_function)
    seen: list[list[str]] = []

    def recording(**kwargs: Any) -> Any:
        seen.append(hops(sys._getframe()))
        return real(**kwargs)

    monkeypatch.setattr(ledger, ledger_function, recording)

    vapi.send(message)

    # What charges a call is shared with staff, who settle a call in review.
    charging = ["calls.charging.charge"] if expected == "settle" else []
    assert seen == [
        [
            "webhooks.views.vapi_webhook",
            "webhooks.inbox.receive_vapi",
            "webhooks.inbox.process",
            f"calls.lifecycle.{expected}",
            *charging,
        ]
    ]


def receivers(signal: Signal) -> list[Any]:
    found = []
    for entry in signal.receivers:
        reference = entry[1]
        receiver = reference() if hasattr(reference, "__callback__") else reference
        if receiver is not None:
            found.append(receiver)
    return found


def test_given_all_signals_of_django_when_listed_then_no_receiver_is_ours() -> None:
    # By type(), which a weak proxy of something that is gone survives, and isinstance does not.
    signals = [each for each in gc.get_objects() if issubclass(type(each), Signal)]
    assert request_started in signals
    assert receivers(request_started)

    # Staff's groups are made after a migration, which no message passes.
    listening = [
        receiver
        for signal in signals
        if signal is not post_migrate
        for receiver in receivers(signal)
    ]

    assert [receiver for receiver in listening if ours(receiver.__module__)] == []


def test_given_a_receiver_of_ours_when_listed_then_it_is_found() -> None:
    """The control: were there one, the test above would see it."""

    def listener(**kwargs: Any) -> None:
        pass

    listener.__module__ = "wallets.models"
    signal = Signal()
    signal.connect(listener)

    assert [receiver for receiver in receivers(signal) if ours(receiver.__module__)] == [listener]


def statements(vapi: Vapi, message: dict[str, Any]) -> list[str]:
    body = encoded(message)
    with CaptureQueriesContext(connection) as captured:
        vapi.send(body)
    return [query["sql"] for query in captured.captured_queries]


def test_given_history_when_a_call_lives_then_no_message_takes_more_statements_for_it(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    first = life(vapi, call)
    # Past calls with their entries and events, and live ones with their holds.
    for number in range(12):
        another = VapiCall(number=call.number)
        vapi.send(another.assistant_request(START))
        vapi.send(another.status("in-progress", START))
        if number % 2:
            vapi.send(another.ended(START))
            vapi.send(another.report(START, after(5)))
    for number in range(3):
        ledger.add_credits(
            organization_id=call.number.organization.pk,
            amount_pence=100,
            credit_type="bonus",
            description="More entries",
            idempotency_key=f"bonus {number}",
        )

    later = life(vapi, VapiCall(number=call.number))

    assert {kind: len(sql) for kind, sql in later.items()} == {
        kind: len(sql) for kind, sql in first.items()
    }
    # A bound that a query in a loop would break, with a little room to change.
    assert all(len(sql) <= 35 for sql in later.values())


def life(vapi: Vapi, call: VapiCall) -> dict[str, list[str]]:
    """The statements of each message in the life of a call."""
    return {
        "assistant-request": statements(vapi, call.assistant_request(START)),
        "in-progress": statements(vapi, call.status("in-progress", START)),
        "ended": statements(vapi, call.ended(START)),
        "report": statements(vapi, call.report(START, after(5))),
    }


def test_given_a_refusal_when_asked_then_it_takes_fewer_statements_than_a_call(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    poor = VapiCall(number=PhoneNumberFactory(organization=OrganizationFactory()))

    refused = statements(vapi, poor.assistant_request(START))
    let_in = statements(vapi, call.assistant_request(START))

    assert len(refused) < len(let_in)
    assert is_accepted(vapi.send(call.assistant_request(START)))
