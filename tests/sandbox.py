"""The sandbox as a server, for tests that talk to providers through the real clients."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from granian.constants import Interfaces
from granian.server.embed import Server

from voxbilling.stack import ports
from voxbilling.stack.sandbox import application
from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.stripe import Stripe
from voxbilling.stack.sandbox.vapi.calls import Calls
from voxbilling.stack.sandbox.vapi.webhook import Webhook

_START_SECONDS = 30


def calls_that_nobody_hears(base_url: str = "http://sandbox") -> Calls:
    return Calls(Webhook("http://127.0.0.1:9", ""), base_url=base_url, clock=Clock())


def stripe_that_nobody_hears() -> Stripe:
    return Stripe(Memory(), Clock(), base_url="http://sandbox/stripe")


@contextmanager
def running_sandbox(
    file: Path | None = None,
    *,
    stripe_webhook_url: str | None = None,
    stripe_webhook_secret: str = "",
) -> Iterator[str]:
    """The URL of a sandbox that knows what this file does, in a thread of this process.

    Stripe's events go to `stripe_webhook_url`; without one, nowhere.
    """
    with ports.reserve(0) as kept:
        port = kept.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        memory = Memory(file)
        stripe = Stripe(
            memory,
            Clock(),
            base_url=f"{url}/stripe",
            webhook_url=stripe_webhook_url,
            webhook_secret=stripe_webhook_secret,
        )
        server = Server(
            application.create(memory, calls_that_nobody_hears(url), stripe),
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGINL,
            log_enabled=False,
        )
        loop: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            loop.append(asyncio.get_running_loop())
            stripe.resume()
            await server.serve()
            stripe.keep()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        try:
            _wait_until_it_answers(url)
            yield url
        finally:
            loop[0].call_soon_threadsafe(server.stop)
            thread.join()


def _wait_until_it_answers(url: str) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx.get(f"{url}/healthz", trust_env=False)
        except httpx.ConnectError:
            assert time.monotonic() < give_up_at, "the sandbox did not start"
            time.sleep(0.01)
        else:
            return
