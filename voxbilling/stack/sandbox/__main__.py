"""Serves the sandbox on the loopback, in one process. What it must not forget is kept in the data
directory.

python -m voxbilling.stack.sandbox --port N
"""

import argparse
import asyncio
import signal

from granian.constants import Interfaces
from granian.server.embed import Server

from voxbilling.environment import data_dir
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.sandbox.application import create
from voxbilling.stack.sandbox.memory import Memory


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    server = Server(
        create(Memory(DataDirectory(data_dir()).sandbox)),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
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
