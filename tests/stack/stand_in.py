"""The real supervisor with stand-ins for the commands of other parts, run as a program.

    python -m tests.stack.stand_in run|demo|storm [NAME=STAND_IN ...]

NAME is one of the supervisor's command lines, STAND_IN one of this module's parts. By default web
and prepare_stack are stand-ins, and the sandbox, the workers and beat are the real ones.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from voxbilling.stack import StackError
from voxbilling.stack.storm import StormSupervisor
from voxbilling.stack.supervisor import CommandLines, Supervisor

PREPARED = {
    "staff": {"username": "staff", "password": "staff-password"},
    "organizations": [
        {
            "id": "0b0e3b5e-0000-4000-8000-000000000001",
            "name": "Well funded",
            "balance_pence": 50000,
            "owner": {"username": "owner", "password": "owner-password"},
            "phone_number": "+441632960001",
            "vapi_phone_number_id": "0b0e3b5e-0000-4000-8000-000000000002",
            "vapi_assistant_id": "0b0e3b5e-0000-4000-8000-000000000003",
        }
    ],
}


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def web(port: int) -> None:
    class Server(ThreadingHTTPServer):
        allow_reuse_port = True

    Server(("127.0.0.1", port), _Healthy).serve_forever()


def part(name: str, port: int) -> None:
    if name == "prepare":
        print(json.dumps(PREPARED))
    elif name == "web":
        web(port)
    elif name == "sleep":
        time.sleep(600)
    elif name == "fail":
        print("something is wrong here", file=sys.stderr)
        sys.exit(3)
    elif name == "demo":
        print("the demo speaks")
        sys.exit(7)
    else:
        raise ValueError(name)


def stand_in(name: str) -> list[str]:
    return [sys.executable, "-m", "tests.stack.stand_in", "part", name]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "demo", "storm", "part"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.what == "part":
        part(options.names[0], options.port)
        return 0
    chosen = {"prepare": "prepare", "web": "web"}
    chosen |= dict(name.split("=") for name in options.names)
    commands = {name: stand_in(what) for name, what in chosen.items() if what != "real"}
    lines = replace(CommandLines(), **commands)
    try:
        if options.what == "storm":
            return StormSupervisor(lines).run_for("storm", stand_in("sleep"))
        supervisor = Supervisor(lines)
        return (
            supervisor.run()
            if options.what == "run"
            else supervisor.run_for("demo", stand_in("demo"))
        )
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
