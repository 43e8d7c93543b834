"""Serves the sandbox on the loopback, in one process. What it must not forget is kept in the data
directory.

python -m voxbilling.stack.sandbox --port N

Live calls post their messages to the voxbilling that VOXBILLING_URL names, with the first of
VAPI_WEBHOOK_SECRETS.
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
from voxbilling.stack.sandbox.vapi_calls import Calls
from voxbilling.stack.sandbox.vapi_webhook import Webhook

# Nothing listens on the discard port: without a voxbilling, its messages fail at once.
_NO_VOXBILLING = "http://127.0.0.1:9"
_CONNECTIONS = 2048


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    webhook = Webhook(
        f"{os.environ.get('VOXBILLING_URL', _NO_VOXBILLING)}/api/vapi/webhook",
        os.environ.get("VAPI_WEBHOOK_SECRETS", "").split(",")[0],
    )
    calls = Calls(webhook, base_url=f"http://127.0.0.1:{port}", clock=Clock())
    server = Server(
        create(Memory(DataDirectory(data_dir()).sandbox), calls),
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
    await server.serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m voxbilling.stack.sandbox")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
