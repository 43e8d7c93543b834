"""Stripe through its own SDK. The only module that asks Stripe anything.

Nothing here is tried again by itself. What matters about a failure is whether Stripe can have done
what was asked, so each has one of four names. Never called under a lock or in a transaction.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import stripe
from django.conf import settings

CURRENCY = "gbp"
# Whoever has not accepted a connection by then is down, and was asked nothing.
CONNECT_TIMEOUT_SECONDS = 5.0
# A bank takes some seconds for a charge; one that takes longer is found out about later.
READ_TIMEOUT_SECONDS = 20.0
_PAGE = 100
_LONGEST_TEXT = 300
# The request may be at work under the same key, or was given up half way.
_STATUS_UNKNOWN = {408, 409}
# The code of a refusal that names something which Stripe does not have.
MISSING = "resource_missing"

# It would write a file into the home directory to be recognised by.
stripe.enable_telemetry = False


class PaymentError(Exception):
    """Stripe did not do what was asked, or nobody knows. The text holds no secret."""


class CardDeclined(PaymentError):
    """The bank refused the card, or wants its holder to be there (`authentication_required`)."""

    def __init__(self, code: str, payment_intent_id: str, message: str) -> None:
        super().__init__(f"The card was declined ({code}): {message}")
        self.code = code
        self.payment_intent_id = payment_intent_id
        self.message = message


class PaymentRefused(PaymentError):
    """Stripe looked at it and did not do it; asking the same again would not help.

    `param` is what of the request it did not like, if it says so.
    """

    def __init__(self, code: str, message: str, param: str = "") -> None:
        super().__init__(f"Stripe refused ({code}): {message}")
        self.code = code
        self.message = message
        self.param = param


class PaymentUnavailable(PaymentError):
    """Stripe was not reached, has too much to do, or does not take our key: it did nothing."""


class PaymentOutcomeUnknown(PaymentError):
    """Stripe was asked, and did not say what it did. Ask what there is before anything."""


@dataclass(frozen=True, kw_only=True)
class CheckoutSession:
    """A page to pay on. `status` is open, complete or expired; `payment_status` paid or unpaid."""

    id: str
    url: str
    status: str
    payment_status: str
    payment_intent_id: str
    amount_pence: int
    currency: str
    livemode: bool


@dataclass(frozen=True, kw_only=True)
class PaymentIntent:
    """A payment. `topup_id` is what our metadata says; empty for a payment that is not ours.

    `amount_pence` is what was asked for, in hundredths of `currency`. `refunded_pence` is what was
    given back of it so far, by whomever. The failure is that of the last attempt.
    """

    id: str
    status: str
    amount_pence: int
    refunded_pence: int
    currency: str
    customer_id: str
    payment_method_id: str
    topup_id: str
    organization_id: str
    failure_code: str
    failure: str
    livemode: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class RefundAtStripe:
    """A refund. `refund_id` is what our metadata says; empty for one from outside."""

    id: str
    status: str
    amount_pence: int
    refund_id: str
    failure: str


@dataclass(frozen=True, kw_only=True)
class PaymentMethod:
    """What was paid with. `brand` and `last4` only for a card."""

    id: str
    type: str
    customer_id: str
    brand: str
    last4: str


class _Http(stripe.HTTPClient):
    """Lets the SDK talk as everything here does: one try, and time limits."""

    name = "httpx"

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, **_: Any
    ) -> tuple[str, int, httpx.Headers]:
        try:
            response = httpx.request(
                method,
                url,
                headers=headers,
                content=post_data,
                timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise PaymentUnavailable(f"Stripe was not reached: {type(error).__name__}.") from None
        except httpx.HTTPError as error:
            raise PaymentOutcomeUnknown(f"Stripe did not answer: {type(error).__name__}.") from None
        return response.text, response.status_code, response.headers


def is_live() -> bool:
    """Whether our key moves real money."""
    return "_live_" in settings.STRIPE_SECRET_KEY


def create_customer(organization_id: UUID, *, instead_of: str = "") -> str:
    """The id of the organization's customer; the same one when asked again within a day.

    `instead_of` is the customer that was deleted, whose key must not be used again.
    """
    with _one_of_four_errors():
        # Nothing that may change: the key is good for the same words only.
        customer = _v1().customers.create(
            params={"metadata": {"organization_id": str(organization_id)}},
            options={"idempotency_key": f"customer:{organization_id}:{instead_of}".rstrip(":")},
        )
        return _text(customer.id)


def create_checkout_session(
    *,
    topup_id: UUID,
    organization_id: UUID,
    customer_id: str,
    amount_pence: int,
    save_card: bool,
    return_url: str,
) -> CheckoutSession:
    """A page to pay this top-up on, which leads back to `return_url`, paid or not."""
    metadata = _metadata(topup_id, organization_id)
    payment: dict[str, Any] = {"metadata": metadata}
    if save_card:
        payment["setup_future_usage"] = "off_session"
    with _one_of_four_errors():
        session = _v1().checkout.sessions.create(
            params={
                "mode": "payment",
                "customer": customer_id,
                "client_reference_id": str(topup_id),
                "line_items": [
                    {
                        "price_data": {
                            "currency": CURRENCY,
                            "unit_amount": amount_pence,
                            "product_data": {"name": "Credit for calls"},
                        },
                        "quantity": 1,
                    }
                ],
                "metadata": metadata,
                "payment_intent_data": payment,
                "success_url": return_url,
                "cancel_url": return_url,
            },
            # Refused for a customer that was deleted, it is asked for another one.
            options={"idempotency_key": f"topup:{topup_id}:{customer_id}"},
        )
        return _session(session)


def retrieve_checkout_session(session_id: str) -> CheckoutSession:
    with _one_of_four_errors():
        return _session(_v1().checkout.sessions.retrieve(session_id))


def charge_off_session(
    *,
    topup_id: UUID,
    organization_id: UUID,
    customer_id: str,
    payment_method_id: str,
    amount_pence: int,
) -> PaymentIntent:
    """Charge a card that its holder let us keep, while nobody is there. Raises CardDeclined."""
    with _one_of_four_errors():
        intent = _v1().payment_intents.create(
            params={
                "amount": amount_pence,
                "currency": CURRENCY,
                "customer": customer_id,
                "payment_method": payment_method_id,
                "payment_method_types": ["card"],
                "off_session": True,
                "confirm": True,
                "metadata": _metadata(topup_id, organization_id),
                "expand": ["latest_charge"],
            },
            options={"idempotency_key": f"topup:{topup_id}"},
        )
        return _intent(intent)


def list_payment_intents(customer_id: str, *, since: datetime) -> list[PaymentIntent]:
    """The customer's payments that were begun at this moment or later, the newest first."""
    with _one_of_four_errors():
        page = _v1().payment_intents.list(
            params={
                "customer": customer_id,
                "created": {"gte": int(since.timestamp())},
                "limit": _PAGE,
                "expand": ["data.latest_charge"],
            }
        )
        return [_intent(each) for each in page.auto_paging_iter()]


def retrieve_payment_intent(payment_intent_id: str) -> PaymentIntent:
    with _one_of_four_errors():
        return _intent(
            _v1().payment_intents.retrieve(payment_intent_id, params={"expand": ["latest_charge"]})
        )


def cancel_payment_intent(payment_intent_id: str) -> PaymentIntent:
    with _one_of_four_errors():
        return _intent(
            _v1().payment_intents.cancel(payment_intent_id, params={"expand": ["latest_charge"]})
        )


def create_refund(
    *, refund_id: UUID, organization_id: UUID, payment_intent_id: str, amount_pence: int
) -> RefundAtStripe:
    with _one_of_four_errors():
        refund = _v1().refunds.create(
            params={
                "payment_intent": payment_intent_id,
                "amount": amount_pence,
                "metadata": {
                    "refund_id": str(refund_id),
                    "organization_id": str(organization_id),
                },
            },
            options={"idempotency_key": f"refund:{refund_id}"},
        )
        return _refund(refund)


def list_refunds(payment_intent_id: str) -> list[RefundAtStripe]:
    with _one_of_four_errors():
        page = _v1().refunds.list(params={"payment_intent": payment_intent_id, "limit": _PAGE})
        return [_refund(each) for each in page.auto_paging_iter()]


def retrieve_payment_method(payment_method_id: str) -> PaymentMethod:
    with _one_of_four_errors():
        method = _v1().payment_methods.retrieve(payment_method_id)
        is_card = method.type == "card"
        return PaymentMethod(
            id=_text(method.id),
            type=_text(method.type),
            customer_id=_id(method.customer),
            brand=_text(method.card.brand) if is_card and method.card else "",
            last4=_text(method.card.last4) if is_card and method.card else "",
        )


def detach_payment_method(payment_method_id: str) -> None:
    """Have Stripe forget a card of a customer's."""
    with _one_of_four_errors():
        _v1().payment_methods.detach(payment_method_id)


def list_undelivered_events(
    types: Iterable[str], *, since: datetime, after_event_id: str = "", limit: int = _PAGE
) -> list[dict[str, Any]]:
    """A page of events whose webhook did not arrive, as a webhook has them, the newest first.

    `after_event_id` is the last event of the page before.
    """
    params: dict[str, Any] = {
        "types": list(types),
        "delivery_success": False,
        "created": {"gte": int(since.timestamp())},
        "limit": limit,
    }
    if after_event_id:
        params["starting_after"] = after_event_id
    with _one_of_four_errors():
        page = _v1().events.list(params=params)
        return [event.to_dict() for event in page.data]


def _v1() -> Any:
    # Typed by what is made of the answers: these come from outside, whatever the SDK says.
    client = stripe.StripeClient(
        settings.STRIPE_SECRET_KEY,
        base_addresses={"api": settings.STRIPE_API_URL},
        http_client=_Http(),
        max_network_retries=0,
    )
    return client.v1


@contextmanager
def _one_of_four_errors() -> Iterator[None]:
    try:
        yield
    except stripe.StripeError as error:
        raise _named(error) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # A success that cannot be read says as little as no answer.
        raise PaymentOutcomeUnknown(
            f"Stripe's answer could not be read: {type(error).__name__}."
        ) from None


def _named(error: stripe.StripeError) -> PaymentError:
    status = error.http_status or 0
    message = (error.user_message or "no reason given")[:_LONGEST_TEXT]
    if isinstance(error, stripe.RateLimitError):
        return PaymentUnavailable("Stripe has too many requests.")
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return PaymentUnavailable(f"Stripe does not take our key for this ({status}).")
    if isinstance(error, stripe.IdempotencyError):
        # Something was asked under this key before, and may have been done.
        return PaymentOutcomeUnknown(f"Stripe knows the key of this request: {message}")
    if isinstance(error, stripe.CardError) and getattr(error.error, "type", "") == "card_error":
        return CardDeclined(
            error.code or "card_declined",
            _id(getattr(error.error, "payment_intent", None)),
            message,
        )
    if 400 <= status < 500 and status not in _STATUS_UNKNOWN:
        param = getattr(error, "param", None) or ""
        return PaymentRefused(error.code or str(status), message, str(param))
    return PaymentOutcomeUnknown(f"Stripe answered {status}.")


def _metadata(topup_id: UUID, organization_id: UUID) -> dict[str, str]:
    return {"topup_id": str(topup_id), "organization_id": str(organization_id)}


def _session(session: Any) -> CheckoutSession:
    return CheckoutSession(
        id=_text(session.id),
        url=_text(session.url or ""),
        status=_text(session.status),
        payment_status=_text(session.payment_status),
        payment_intent_id=_id(session.payment_intent),
        amount_pence=_whole(session.amount_total),
        currency=_text(session.currency),
        livemode=bool(session.livemode),
    )


def _intent(intent: Any) -> PaymentIntent:
    metadata = _plain(intent.metadata)
    failure = _plain(getattr(intent, "last_payment_error", None))
    charge = _plain(getattr(intent, "latest_charge", None))
    return PaymentIntent(
        id=_text(intent.id),
        status=_text(intent.status),
        amount_pence=_whole(intent.amount),
        refunded_pence=_whole(charge.get("amount_refunded") or 0),
        currency=_text(intent.currency),
        customer_id=_id(getattr(intent, "customer", None)),
        payment_method_id=_id(getattr(intent, "payment_method", None)),
        topup_id=str(metadata.get("topup_id", "")),
        organization_id=str(metadata.get("organization_id", "")),
        failure_code=str(failure.get("code") or "")[:60],
        failure=str(failure.get("message") or "")[:_LONGEST_TEXT],
        livemode=bool(intent.livemode),
        created_at=datetime.fromtimestamp(_whole(intent.created), UTC),
    )


def _refund(refund: Any) -> RefundAtStripe:
    return RefundAtStripe(
        id=_text(refund.id),
        status=_text(refund.status),
        amount_pence=_whole(refund.amount),
        refund_id=str(_plain(refund.metadata).get("refund_id", "")),
        failure=str(getattr(refund, "failure_reason", None) or ""),
    )


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, stripe.StripeObject):
        plain: dict[str, Any] = value.to_dict()
        return plain
    return {}


def _id(value: Any) -> str:
    """The id of what is referred to, whether it was expanded or not; empty for nothing."""
    return value if isinstance(value, str) else _text(getattr(value, "id", ""))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a number is missing")
    return value
