"""Prices of calls: seconds to pence, pence to seconds. Pure, integer, and all rounding is here.

A call is billed in whole increments, and rounded up to a whole penny once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """What a call costs: pence a minute, and the increment in seconds that it is billed by.

    Raises ValueError if either is not above 0.
    """

    rate_pence_per_minute: int
    billing_increment_seconds: int

    def __post_init__(self) -> None:
        if self.rate_pence_per_minute <= 0 or self.billing_increment_seconds <= 0:
            raise ValueError("A tariff needs a rate and a billing increment above 0.")

    def price(self, duration_seconds: int) -> int:
        """Pence for a call of this many seconds; 0 seconds cost 0.

        Raises ValueError for a negative duration.
        """
        if duration_seconds < 0:
            raise ValueError(f"A call cannot last {duration_seconds} seconds.")
        increments = _divide_rounding_up(duration_seconds, self.billing_increment_seconds)
        billed_seconds = increments * self.billing_increment_seconds
        return _divide_rounding_up(billed_seconds * self.rate_pence_per_minute, SECONDS_PER_MINUTE)

    def affordable_seconds(self, pence: int) -> int:
        """The longest duration in seconds whose price is not more than `pence`.

        Always whole increments; 0 if not even one can be paid, also for negative pence.
        """
        # price(n increments) ≤ pence  ⇔  n × increment × rate ≤ pence × 60: rounding up to a
        # whole penny never crosses a bound that is itself a whole penny.
        pence_seconds = max(pence, 0) * SECONDS_PER_MINUTE
        increments = pence_seconds // (self.billing_increment_seconds * self.rate_pence_per_minute)
        return increments * self.billing_increment_seconds

    def largest_hold(self, pence: int) -> int:
        """Pence of the largest hold of whole increments that is not more than `pence`."""
        return self.price(self.affordable_seconds(pence))


def connected_seconds(started_at: datetime, ended_at: datetime) -> int:
    """Seconds that a connected call is billed for: rounded half up, and at least 1.

    Raises ValueError unless `ended_at` is later than `started_at`.
    """
    if ended_at <= started_at:
        raise ValueError("A connected call ends after it starts.")
    half_seconds = (ended_at - started_at) // timedelta(milliseconds=500)
    return max((half_seconds + 1) // 2, 1)


def whole_seconds(seconds: Decimal) -> int:
    """A duration that came as a fraction, in whole seconds: rounded half up."""
    return int(seconds.quantize(Decimal(1), ROUND_HALF_UP))


def usd_to_pence(amount_usd: Decimal, gbp_per_usd: Decimal) -> int:
    """What an amount in dollars is in pence: rounded half up, to whole pence, once."""
    return int((amount_usd * gbp_per_usd * 100).quantize(Decimal(1), ROUND_HALF_UP))


def _divide_rounding_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
