"""What comes of asking Stripe: an answer that can be believed, or one of four errors."""

import uuid
from datetime import UTC, datetime

import httpx
import pytest

from wallets.payments import stripe_client
from wallets.payments.stripe_client import (
    CardDeclined,
    PaymentOutcomeUnknown,
    PaymentRefused,
    PaymentUnavailable,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def answer(monkeypatch, settings):
    settings.STRIPE_SECRET_KEY = "sk_test_key"
    settings.STRIPE_API_URL = "https://stripe.test"
    sent = []

    def answer(status, body):
        def request(method, url, **kwargs):
            sent.append((method.upper(), url, kwargs))
            if isinstance(status, type):
                raise status("gone")
            return (
                httpx.Response(status, content=body)
                if isinstance(body, bytes)
                else (httpx.Response(status, json=body))
            )

        monkeypatch.setattr(stripe_client.httpx, "request", request)
        return sent

    return answer


def charge():
    return stripe_client.charge_off_session(
        topup_id=uuid.UUID(int=1),
        organization_id=uuid.UUID(int=2),
        customer_id="cus_1",
        payment_method_id="pm_1",
        amount_pence=5_000,
    )


def error(**fields):
    return {"error": {"type": "invalid_request_error", "message": "No.", **fields}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error(code="parameter_missing"), PaymentRefused),
        (404, error(code="resource_missing"), PaymentRefused),
        (402, error(), PaymentRefused),
        (402, error(type="card_error", code="expired_card"), CardDeclined),
        (400, error(type="idempotency_error"), PaymentOutcomeUnknown),
        (409, error(type="idempotency_error"), PaymentOutcomeUnknown),
        (408, {}, PaymentOutcomeUnknown),
        (400, error(code="rate_limit"), PaymentUnavailable),
        (429, error(code="lock_timeout"), PaymentUnavailable),
        (401, error(), PaymentUnavailable),
        (403, error(), PaymentUnavailable),
        (500, error(type="api_error"), PaymentOutcomeUnknown),
        (503, b"<html>", PaymentOutcomeUnknown),
        (200, b"<html>", PaymentOutcomeUnknown),
        (200, {}, PaymentOutcomeUnknown),
        (200, {"id": "pi_1", "status": "succeeded", "amount": "5000"}, PaymentOutcomeUnknown),
        (302, {}, PaymentOutcomeUnknown),
        (httpx.ConnectError, None, PaymentUnavailable),
        (httpx.ConnectTimeout, None, PaymentUnavailable),
        (httpx.ReadTimeout, None, PaymentOutcomeUnknown),
        (httpx.WriteError, None, PaymentOutcomeUnknown),
        (httpx.RemoteProtocolError, None, PaymentOutcomeUnknown),
    ],
)
def test_given_what_stripe_answers_when_asked_then_it_has_one_name_and_is_asked_once(
    answer, status, body, expected
):
    sent = answer(status, body)

    with pytest.raises(expected) as raised:
        charge()

    assert type(raised.value) is expected
    assert len(sent) == 1
    assert "sk_test_key" not in str(raised.value)


def test_given_a_bank_that_wants_its_customer_when_charged_then_the_payment_is_named(answer):
    answer(
        402,
        error(
            type="card_error",
            code="authentication_required",
            message="Your card requires authentication.",
            payment_intent={"id": "pi_1", "object": "payment_intent"},
        ),
    )

    with pytest.raises(CardDeclined) as raised:
        charge()

    assert (raised.value.code, raised.value.payment_intent_id) == (
        "authentication_required",
        "pi_1",
    )
    assert raised.value.message == "Your card requires authentication."


def test_given_a_charge_when_asked_then_it_is_off_session_by_a_key_of_its_topup(answer):
    sent = answer(
        200,
        {
            "id": "pi_1",
            "object": "payment_intent",
            "status": "succeeded",
            "amount": 5_000,
            "currency": "gbp",
            "customer": {"id": "cus_1", "object": "customer"},
            "payment_method": "pm_1",
            "metadata": {"topup_id": "t", "organization_id": "o"},
            "latest_charge": {"id": "ch_1", "object": "charge", "amount_refunded": 100},
            "last_payment_error": None,
            "livemode": False,
            "created": int(NOW.timestamp()),
        },
    )

    intent = charge()

    assert (intent.id, intent.customer_id, intent.refunded_pence) == ("pi_1", "cus_1", 100)
    assert (intent.topup_id, intent.created_at, intent.failure) == ("t", NOW, "")
    ((method, url, kwargs),) = sent
    assert (method, url) == ("POST", "https://stripe.test/v1/payment_intents")
    assert kwargs["headers"]["Idempotency-Key"].startswith(f"topup:{uuid.UUID(int=1)}")
    assert kwargs["headers"]["Authorization"] == "Bearer sk_test_key"
    for part in ("off_session=true", "confirm=true", "currency=gbp", "amount=5000"):
        assert part in kwargs["content"]
    assert kwargs["timeout"].read == stripe_client.READ_TIMEOUT_SECONDS


def test_given_several_pages_when_payments_are_listed_then_all_of_them_are_there(
    answer, monkeypatch
):
    pages = {
        "": (["pi_3", "pi_2"], True),
        "pi_2": (["pi_1"], False),
    }

    def request(_method, url, **_):
        ids, more = pages[httpx.URL(url).params.get("starting_after", "")]
        data = [
            {
                "id": each,
                "object": "payment_intent",
                "status": "succeeded",
                "amount": 1,
                "currency": "gbp",
                "metadata": {},
                "livemode": False,
                "created": 1,
            }
            for each in ids
        ]
        return httpx.Response(
            200,
            json={"object": "list", "url": "/v1/payment_intents", "has_more": more, "data": data},
        )

    answer(200, {})
    monkeypatch.setattr(stripe_client.httpx, "request", request)

    found = stripe_client.list_payment_intents("cus_1", since=NOW)

    assert [intent.id for intent in found] == ["pi_3", "pi_2", "pi_1"]


@pytest.mark.parametrize(
    ("key", "is_live"),
    [("sk_live_1", True), ("rk_live_1", True), ("sk_test_1", False), ("", False)],
)
def test_given_a_key_then_its_mode_is_known(settings, key, is_live):
    settings.STRIPE_SECRET_KEY = key
    assert stripe_client.is_live() is is_live
