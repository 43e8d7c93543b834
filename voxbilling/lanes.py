"""Places for requests of each kind, so that one kind cannot keep another waiting.

Vapi gives up on an answer after seconds. A thousand requests of one customer's program, or a phone
company that is slow, must not take the places of its webhooks. Threads are many, and cost little
while they wait; places are few (voxbilling/capacity.py), and whoever has one may use a database
connection.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse

from voxbilling.capacity import OTHER_PLACES, PROVIDER_PLACES, WEBHOOK_PLACES

# Taken by the webhooks' views themselves, once they have read a body that carries a credential.
WEBHOOKS = threading.BoundedSemaphore(WEBHOOK_PLACES)
_PROVIDERS = threading.BoundedSemaphore(PROVIDER_PLACES)
_OTHERS = threading.BoundedSemaphore(OTHER_PLACES)

_WEBHOOK_PREFIXES = ("/api/vapi/", "/api/stripe/")
# These wait for a phone company, or for Stripe.
_PROVIDER_PREFIXES = (
    "/api/managed-telephony/",
    "/api/billing/wallet/topup",
    "/numbers/search/",
    "/numbers/buy/",
    "/numbers/release/",
)
_PROVIDER_PATHS = {"/wallet/top-up/", "/wallet/auto-recharge/forget-card/"}


class LanesMiddleware:
    """Lets as many requests of each kind at work as have a place; the others wait for theirs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(_WEBHOOK_PREFIXES):
            return self.get_response(request)
        # Before a place is taken, which nobody may keep by sending slowly. One that is too large
        # is refused by whoever reads it.
        with suppress(RequestDataTooBig):
            _ = request.body
        waits_for_provider = request.path in _PROVIDER_PATHS or request.path.startswith(
            _PROVIDER_PREFIXES
        )
        with _PROVIDERS if waits_for_provider else _OTHERS:
            return self.get_response(request)
