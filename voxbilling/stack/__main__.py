"""The stack, until Ctrl-C or for one command.

python -m voxbilling.stack run|demo|verify|load-test|storm
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from voxbilling.stack import StackError
from voxbilling.stack.storm import StormSupervisor
from voxbilling.stack.supervisor import MANAGE, Supervisor

_COMMANDS = {
    "demo": "run_demo",
    "verify": "verify_billing_deployment",
    "load-test": "load_test_billing",
    "storm": "play_storm",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m voxbilling.stack",
        description="PORT (8000; 0 for a free one) and VOXBILLING_DATA_DIR (.voxbilling) are "
        "read from the environment and from .env, by run and demo. The others have a stack of "
        "their own beside the one that may be running.",
    )
    parser.add_argument(
        "what",
        choices=["run", *_COMMANDS],
        help="run: until Ctrl-C; demo: while simulated calls are billed; verify: while it is "
        "proved to be whole; load-test: while it is under load; storm: while it is disturbed",
    )
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, help="for the command, such as --scenario 2"
    )
    chosen = parser.parse_args()
    if chosen.what == "run" and chosen.options:
        parser.error("run has no options")
    try:
        if chosen.what == "run":
            return Supervisor().run()
        command = [*MANAGE, _COMMANDS[chosen.what], *chosen.options]
        if chosen.what == "demo":
            return Supervisor().run_for("demo", command)
        supervisor = StormSupervisor() if chosen.what == "storm" else Supervisor()
        return _run_apart(supervisor, chosen.what, command)
    except StackError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


def _run_apart(supervisor: Supervisor, name: str, command: Sequence[str]) -> int:
    """Run a command on a stack of its own, whose data is kept only if it fails."""
    directory = Path(tempfile.mkdtemp(prefix="voxbilling-"))
    # PostgreSQL may run as another user, who has to get through.
    directory.chmod(0o711)
    data = directory / "data"
    os.environ |= {"VOXBILLING_DATA_DIR": str(data), "PORT": "0"}
    exit_code = 1
    try:
        exit_code = supervisor.run_for(name, command)
    finally:
        if exit_code == 1 and data.exists():
            print(f"Its data and logs are kept in {data}.", file=sys.stderr)  # noqa: T201
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
