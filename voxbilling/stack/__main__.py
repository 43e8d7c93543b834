"""The stack, kept running or for a demo: python -m voxbilling.stack run|demo."""

import argparse
import sys

from voxbilling.stack import StackError
from voxbilling.stack.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m voxbilling.stack",
        description="PORT (8000; 0 for a free one) and VOXBILLING_DATA_DIR (.voxbilling) are "
        "read from the environment and from .env.",
    )
    parser.add_argument(
        "what",
        choices=["run", "demo"],
        help="run: until Ctrl-C; demo: while simulated calls are billed",
    )
    supervisor = Supervisor()
    try:
        return supervisor.run() if parser.parse_args().what == "run" else supervisor.demo()
    except StackError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
