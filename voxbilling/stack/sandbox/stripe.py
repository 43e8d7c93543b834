"""Stripe, as far as voxbilling talks to it: customers, Checkout and its page, payments, kept cards,
refunds, disputes, events and their webhooks.

Any test key will do, and all see the same. What can be paid with is in `stripe_cards`, what happens
without voxbilling's doing in `stripe_controls`. It knows nothing of fees, taxes, subscriptions,
captures by hand or currencies' rules.

It is remembered over a restart, except for events that were on their way: those stay undelivered.
"""

import httpx
from starlette.routing import BaseRoute

from voxbilling.stack.sandbox import stripe_api, stripe_controls, stripe_pages
from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.faults import Faults
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.stripe_checkout import Checkout
from voxbilling.stack.sandbox.stripe_objects import Objects
from voxbilling.stack.sandbox.stripe_payments import Payments
from voxbilling.stack.sandbox.stripe_reversals import Reversals
from voxbilling.stack.sandbox.stripe_webhooks import Webhooks


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
            *stripe_api.routes(
                self._objects,
                self._webhooks,
                self._payments,
                self._checkout,
                self._reversals,
                faults,
            ),
            *stripe_pages.routes(self._objects, self._payments, self._checkout),
            *stripe_controls.routes(self._objects, self._webhooks, self._payments, self._reversals),
        ]
