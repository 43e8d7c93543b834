"""Bars over days, measured for an SVG: what is drawn where. Pure; templates do the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from wallets.formats import pounds
from wallets.statements import DaySpend

# In the units of the SVG's viewBox.
WIDTH, HEIGHT = 720, 200
_LEFT, _TOP, _BOTTOM = 84, 12, 28
_GAP = 4
_DAYS_PER_LABEL = 7


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A day's bar, from its upper left corner."""

    day: date
    spent_pence: int
    x: float
    y: float
    width: float
    height: float
    is_labelled: bool

    @property
    def middle(self) -> float:
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A horizontal line, and the pence that it stands for."""

    pence: int
    y: float

    @property
    def label(self) -> str:
        return pounds(self.pence).removesuffix(".00")


@dataclass(frozen=True, kw_only=True)
class Chart:
    bars: Sequence[Bar]
    lines: Sequence[Line]
    total_pence: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    labels_y: int = HEIGHT - 6

    @property
    def is_empty(self) -> bool:
        return not any(bar.spent_pence for bar in self.bars)


def bars_of(days: Sequence[DaySpend]) -> Chart:
    """Bars that fill the chart; a day on which more was given back than spent goes below 0."""
    highest = _rounded_up(max(0, *(day.spent_pence for day in days)))
    lowest = -_rounded_up(max(0, *(-day.spent_pence for day in days)))
    scale = (HEIGHT - _TOP - _BOTTOM) / ((highest - lowest) or 1)
    zero = _TOP + highest * scale
    step = (WIDTH - _LEFT) / len(days)
    bars = [
        Bar(
            day=day.day,
            spent_pence=day.spent_pence,
            x=round(_LEFT + number * step + _GAP / 2, 1),
            y=round(zero - max(day.spent_pence, 0) * scale, 1),
            width=round(step - _GAP, 1),
            height=round(abs(day.spent_pence) * scale, 1),
            # Counted from today, so that today has a label.
            is_labelled=(len(days) - 1 - number) % _DAYS_PER_LABEL == 0,
        )
        for number, day in enumerate(days)
    ]
    levels = sorted({lowest, 0, highest // 2, highest})
    return Chart(
        bars=bars,
        lines=[Line(pence=pence, y=round(zero - pence * scale, 1)) for pence in levels],
        total_pence=sum(day.spent_pence for day in days),
    )


def _rounded_up(pence: int) -> int:
    """The next amount that reads well: 1, 2 or 5 pounds, or ten times that, and so on."""
    if pence == 0:
        return 0
    unit = 100
    while True:
        for first in (1, 2, 5):
            if pence <= first * unit:
                return first * unit
        unit *= 10
