"""How long a sweep asks Stripe: never until the next one is due, also when Stripe hangs."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

# Each sweep runs once a minute. What it begins last may ask Stripe twice, for 25 seconds each.
SWEEP_SECONDS = 10.0

Work = TypeVar("Work")


def in_time(work: Iterable[Work]) -> Iterator[Work]:
    """One after another until the sweep's time is over; the rest is for the next sweep."""
    until = time.monotonic() + SWEEP_SECONDS
    for each in work:
        if time.monotonic() >= until:
            return
        yield each
