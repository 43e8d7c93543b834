"""Stripe, as far as voxbilling talks to it: customers, Checkout and its page, payments, kept cards,
refunds, disputes, events and their webhooks.

Any test key will do, and all see the same. What can be paid with is in `cards`, what happens
without voxbilling's doing in `controls`. It knows nothing of fees, taxes, subscriptions,
captures by hand or currencies' rules.

It is remembered over a restart, except for events that were on their way: those stay undelivered.
"""

import httpx
from starlette.routing import BaseRoute

from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.faults import Faults
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.stripe import api, controls, pages
from voxbilling.stack.sandbox.stripe.checkout import Checkout
from voxbilling.stack.sandbox.stripe.objects import Objects
from voxbilling.stack.sandbox.stripe.payments import Payments
from voxbilling.stack.sandbox.stripe.reversals import Reversals
from voxbilling.stack.sandbox.stripe.webhooks import Webhooks


class Stripe:
    """One Stripe account. `base_url` is its own address, `webhook_url` where its events go."""

    def __init__(
        self,
        memory: Memory,
        clock: Clock,
        *,
        base_url: str,
        webhook_url: str | None = None,
        webhook_secret: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._objects = Objects(memory, clock)
        self._webhooks = Webhooks(
            self._objects, clock, url=webhook_url, secret=webhook_secret, transport=transport
        )
        self._payments = Payments(self._objects, self._webhooks, clock, base_url=base_url)
        self._checkout = Checkout(self._objects, self._webhooks, self._payments, base_url=base_url)
        self._reversals = Reversals(self._objects, self._webhooks)

    def resume(self) -> None:
        """Go on with what was at work when the sandbox stopped."""
        self._payments.expect_debits()

    def keep(self) -> None:
        """Write down what was not yet."""
        self._objects.keep()

    def routes(self, faults: Faults) -> list[BaseRoute]:
        return [
            *api.routes(
                self._objects,
                self._webhooks,
                self._payments,
                self._checkout,
                self._reversals,
                faults,
            ),
            *pages.routes(self._objects, self._payments, self._checkout),
            *controls.routes(self._objects, self._webhooks, self._payments, self._reversals),
        ]
