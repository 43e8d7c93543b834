"""Events, and their way to voxbilling: signed, tried again until they are accepted, or disturbed.

An event is on its way as soon as it is made. Nothing promises an order, as at Stripe. The controls
(`controls`) can hold events back, lose them, send them twice, late or once more.
"""

import asyncio
import hashlib
import hmac
import json
import random
import time
from dataclasses import dataclass
from typing import Any

import httpx

from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.stripe.objects import Object, Objects

API_VERSION = "2026-10-28.endive"
# Stripe takes three days over it.
_RETRY_AFTER_SECONDS = (1, 2, 4, 8, 16, 30, 30, 30)
_TIMEOUT_SECONDS = 20.0
_AT_ONCE = 20
_MOST_ATTEMPTS_SHOWN = 50
MODES = frozenset({"deliver", "hold", "lose"})


@dataclass(kw_only=True)
class Manner:
    """How events are sent from now on. Those that are held wait for `release`."""

    mode: str = "deliver"
    times: int = 1
    delay_seconds: float = 0


class Webhooks:
    """Makes events and posts them to `url`; without one, nobody hears them."""

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        *,
        url: str | None,
        secret: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.manner = Manner()
        self._objects = objects
        self._clock = clock
        self._url = url
        self._secret = secret
        self._transport = transport
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, kind: str, about: Object) -> Object:
        """Make an event of what an object is like now, and send it."""
        event = self._objects.add(
            "event",
            {
                "type": kind,
                "api_version": API_VERSION,
                "data": {"object": self._objects.shown(about)},
                "pending_webhooks": 0 if self._url is None else 1,
                "request": {"id": None, "idempotency_key": None},
                "_attempts": [],
                "_is_held": self.manner.mode == "hold",
            },
        )
        if self.manner.mode == "deliver":
            for _ in range(self.manner.times):
                self.send(event, self.manner.delay_seconds)
        return event

    def send(self, event: Object, delay_seconds: float = 0) -> None:
        """Send an event, and again until it is accepted or too many attempts failed."""
        event["_is_held"] = False
        if self._url is not None:
            task = asyncio.create_task(self._deliver(event, self._url, delay_seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def release(self, *, times: int, shuffle_by: int | None) -> list[Object]:
        """Send what was held, `times` each, in the order that it was made or shuffled.

        One after the other, so that the order is that in which voxbilling hears them.
        """
        held = [event for event in self._objects.newest_first("event") if event["_is_held"]]
        held = held[::-1] * times
        if shuffle_by is not None:
            random.Random(shuffle_by).shuffle(held)  # noqa: S311 - to be repeatable
        for event in held:
            event["_is_held"] = False
        task = asyncio.create_task(self._deliver_in_turn(held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return held

    @property
    def on_their_way(self) -> int:
        """How many sendings are not done: nothing more is heard when this is 0."""
        return len(self._tasks)

    async def _deliver_in_turn(self, events: list[Object]) -> None:
        for event in events:
            if self._url is not None and not await self._post(event, self._url):
                self.send(event, _RETRY_AFTER_SECONDS[0])

    async def _deliver(self, event: Object, url: str, delay_seconds: float) -> None:
        await self._clock.sleep(delay_seconds)
        for seconds in (*_RETRY_AFTER_SECONDS, None):
            if await self._post(event, url) or seconds is None:
                return
            await self._clock.sleep(seconds)

    async def _post(self, event: Object, url: str) -> bool:
        """Send an event once; whether it was accepted."""
        body = json.dumps(self._objects.shown(event), indent=2)
        try:
            async with self._turn, asyncio.timeout(_TIMEOUT_SECONDS):
                outcome: int | str = await self._status_of(url, body)
        except (httpx.HTTPError, TimeoutError) as error:
            outcome = type(error).__name__
        accepted = isinstance(outcome, int) and httpx.codes.is_success(outcome)
        if accepted:
            event["pending_webhooks"] = 0
        attempts: list[dict[str, Any]] = event["_attempts"]
        attempts.append({"at": self._objects.now(), "outcome": outcome})
        del attempts[:-_MOST_ATTEMPTS_SHOWN]
        self._objects.changed()
        return accepted

    async def _status_of(self, url: str, body: str) -> int:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._secret, at=int(time.time())),
            "User-Agent": "Stripe/1.0 (sandbox)",
        }
        # voxbilling is on this machine, where no HTTP proxy leads to.
        async with httpx.AsyncClient(
            trust_env=False, timeout=_TIMEOUT_SECONDS, transport=self._transport
        ) as client:
            return (await client.post(url, content=body, headers=headers)).status_code


def signature(body: str, secret: str, *, at: int) -> str:
    """The header by which Stripe signs a body at a moment (epoch seconds)."""
    signed = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"
