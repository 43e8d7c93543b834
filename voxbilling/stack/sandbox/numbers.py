"""The made-up phone numbers that the sandbox's Twilio sells, and who bought them.

All come from ranges that regulators keep for fiction, so that nobody real is ever dialled.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from voxbilling.stack.sandbox.memory import Memory

SOMEBODY_ELSE = "ACsomebody-else"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Consecutive numbers of one place. `kind` is Local, Mobile or TollFree."""

    country: str
    kind: str
    area_code: str
    locality: str
    prefix: str
    first: int
    last: int
    address_requirements: str = "none"
    needs_bundle: bool = False

    def numbers(self) -> Iterator[str]:
        digits = len(str(self.last))
        return (f"{self.prefix}{number:0{digits}}" for number in range(self.first, self.last + 1))

    def has(self, number: str) -> bool:
        rest = number.removeprefix(self.prefix)
        return (
            rest != number
            and rest.isdecimal()
            and len(rest) == len(str(self.last))
            and self.first <= int(rest) <= self.last
        )

    def speaks(self, number: str) -> bool:
        """Whether a number takes voice calls; some mobile numbers take messages alone."""
        return self.kind != "Mobile" or not number.endswith("0")


def _british(area_code: str, locality: str, prefix: str) -> Range:
    return Range(
        country="GB",
        kind="Local",
        area_code=area_code,
        locality=locality,
        prefix=prefix,
        # The first hundred are for organizations that get their numbers without buying them.
        first=100,
        last=999,
    )


def _american(kind: str, area_code: str, locality: str) -> Range:
    return Range(
        country="US",
        kind=kind,
        area_code=area_code,
        locality=locality,
        prefix=f"+1{area_code}5550",
        first=100,
        last=199,
    )


RANGES = [
    _british("20", "London", "+442079460"),
    _british("113", "Leeds", "+441134960"),
    _british("121", "Birmingham", "+441214960"),
    _british("131", "Edinburgh", "+441314960"),
    _british("161", "Manchester", "+441614960"),
    Range(
        country="GB",
        kind="Mobile",
        area_code="7700",
        locality="",
        prefix="+447700900",
        first=500,
        last=999,
    ),
    Range(
        country="GB",
        kind="TollFree",
        area_code="808",
        locality="",
        prefix="+448081570",
        first=100,
        last=999,
    ),
    _american("Local", "212", "New York"),
    _american("Local", "415", "San Francisco"),
    _american("Local", "512", "Austin"),
    _american("TollFree", "833", ""),
    Range(
        country="DE",
        kind="Local",
        area_code="30",
        locality="Berlin",
        prefix="+493023125",
        first=100,
        last=999,
        address_requirements="local",
    ),
    Range(
        country="FR",
        kind="Local",
        area_code="1",
        locality="Paris",
        prefix="+3319900",
        first=1000,
        last=1999,
        needs_bundle=True,
    ),
]


@dataclass(frozen=True, kw_only=True)
class SoldNumber:
    sid: str
    account_sid: str
    number: str
    friendly_name: str
    address_sid: str | None
    bundle_sid: str | None
    bought_at: str

    @property
    def place(self) -> Range:
        return next(place for place in RANGES if place.has(self.number))


class Numbers:
    """Every number that there is, sold or not. Each is sold to one account at a time."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._sold = memory.records("sold numbers")

    def unsold(self, country: str, kind: str) -> Iterator[tuple[str, Range]]:
        for place in RANGES:
            if (place.country, place.kind) == (country, kind):
                yield from ((n, place) for n in place.numbers() if n not in self._sold)

    def place_of_unsold(self, number: str) -> Range | None:
        """The range of a number that is for sale; None if it is not."""
        if number in self._sold:
            return None
        return next((place for place in RANGES if place.has(number)), None)

    def sell(
        self,
        number: str,
        account_sid: str,
        *,
        friendly_name: str,
        address_sid: str | None = None,
        bundle_sid: str | None = None,
    ) -> SoldNumber:
        """Sell a number that is for sale."""
        sold = SoldNumber(
            sid=f"PN{uuid.uuid4().hex}",
            account_sid=account_sid,
            number=number,
            friendly_name=friendly_name,
            address_sid=address_sid,
            bundle_sid=bundle_sid,
            bought_at=datetime.now(UTC).isoformat(),
        )
        self._sold[number] = asdict(sold)
        self._memory.keep()
        return sold

    def of(self, account_sid: str) -> list[SoldNumber]:
        """An account's numbers, those bought last first."""
        all_of_them = (SoldNumber(**record) for record in reversed(self._sold.values()))
        return [sold for sold in all_of_them if sold.account_sid == account_sid]

    def take_back(self, account_sid: str, sid: str) -> bool:
        """Release a number; whether the account had it."""
        for sold in self.of(account_sid):
            if sold.sid == sid:
                del self._sold[sold.number]
                self._memory.keep()
                return True
        return False


def pattern(text: str) -> re.Pattern[str]:
    """What Twilio searches numbers by: digits, `*` for any one, `%` for any number of them, `+` for
    the beginning and `$` for the end. ValueError for anything else."""
    if not re.fullmatch(r"\+?[0-9*%]+\$?", text):
        raise ValueError(text)
    expression = text.replace("+", r"^\+").replace("*", r"\d").replace("%", r"\d*")
    return re.compile(expression)
