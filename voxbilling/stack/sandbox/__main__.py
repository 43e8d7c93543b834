"""Serves the sandbox on the loopback, in one process. What it must not forget is kept in the data
directory.

python -m voxbilling.stack.sandbox --port N

Live calls post their messages to the voxbilling that VOXBILLING_URL names, with the first of
VAPI_WEBHOOK_SECRETS. Stripe's events go there, too, signed with STRIPE_WEBHOOK_SECRET.
"""

import argparse
import asyncio
import os
import signal

from granian.constants import Interfaces
from granian.server.embed import Server

from voxbilling.environment import data_dir
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.sandbox.application import create
from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.stripe import Stripe
from voxbilling.stack.sandbox.vapi.calls import Calls
from voxbilling.stack.sandbox.vapi.webhook import Webhook

# Nothing listens on the discard port: without a voxbilling, its messages fail at once.
_NO_VOXBILLING = "http://127.0.0.1:9"
_CONNECTIONS = 2048


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    voxbilling_url = os.environ.get("VOXBILLING_URL", _NO_VOXBILLING)
    base_url, clock = f"http://127.0.0.1:{port}", Clock()
    webhook = Webhook(
        f"{voxbilling_url}/api/vapi/webhook",
        os.environ.get("VAPI_WEBHOOK_SECRETS", "").split(",")[0],
    )
    calls = Calls(webhook, base_url=base_url, clock=clock)
    memory = Memory(DataDirectory(data_dir()).sandbox)
    stripe = Stripe(
        memory,
        clock,
        base_url=f"{base_url}/stripe",
        webhook_url=f"{voxbilling_url}/api/stripe/webhook",
        webhook_secret=os.environ.get("STRIPE_WEBHOOK_SECRET", ""),
    )
    server = Server(
        create(memory, calls, stripe),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        # Each open connection counts, also one that only may be used again.
        backlog=_CONNECTIONS,
        log_access=False,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    stripe.resume()
    await server.serve()
    stripe.keep()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m voxbilling.stack.sandbox")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
