"""The web server: Granian with the numbers of capacity.py, in the stack and in production.

python -m voxbilling.stack.web [--host 127.0.0.1] [--port 8000]
"""

import argparse
import multiprocessing
import signal
from typing import Any

from granian.constants import Interfaces
from granian.server import Server

from voxbilling.capacity import WEB_THREADS_PER_WORKER, WEB_WORKERS
from voxbilling.stack.launch import die_with_parent

# Connections that the kernel keeps while all threads are busy. A load test opens a thousand at
# once, and a refused webhook is a lost one unless Vapi was told to repeat it.
_BACKLOG = 2048
# A request that still runs then was given up by its client long ago.
_STOP_SECONDS = 8


def load_application() -> Any:
    """What each worker process runs first: tie it to the main process, then load Django."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid, signal.SIGKILL)
    from voxbilling.wsgi import application

    return application


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m voxbilling.stack.web")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    # Once for all: the workers are forked from here. A mistake in the settings shows once, too.
    load_application()
    Server(
        "voxbilling.wsgi:application",
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        workers=WEB_WORKERS,
        blocking_threads=WEB_THREADS_PER_WORKER,
        backlog=_BACKLOG,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    ).serve(target_loader=load_application, wrap_loader=False)


if __name__ == "__main__":
    main()
