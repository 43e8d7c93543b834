"""Many short calls with faults, on a stack of its own that is disturbed meanwhile."""

import argparse
import os
import secrets
import sys
from typing import Any

from django.core.management.base import BaseCommand

_MOST_CALLS = 20_000


def calls(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_CALLS:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {_MOST_CALLS}")
    return int(text)


def add_storm_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=calls, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, help="plays the storm of this seed again")


class Command(BaseCommand):
    help = (
        "Bill many short calls on a stack of its own while webhooks get lost, doubled, late and "
        "out of order, workers are killed and the database restarted; exit 1, with the seed, "
        "unless every call was charged once and every penny is accounted for."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_storm_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        seed = secrets.randbelow(1_000_000) if options["seed"] is None else options["seed"]
        command = [sys.executable, "-m", "voxbilling.stack", "storm"]
        # In our place, so that what stops us stops the stack.
        os.execv(  # noqa: S606 - our own program, no shell
            sys.executable, [*command, "--calls", str(options["calls"]), "--seed", str(seed)]
        )
