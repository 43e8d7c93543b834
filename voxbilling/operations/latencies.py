"""How long answers took."""

import math
from collections.abc import Sequence

PERCENTS = (50, 95, 99)


def percentiles(milliseconds: Sequence[float]) -> list[float]:
    """For each of PERCENTS, what that part of the answers did not exceed, in milliseconds."""
    ordered = sorted(milliseconds)
    return [ordered[math.ceil(percent / 100 * len(ordered)) - 1] for percent in PERCENTS]
