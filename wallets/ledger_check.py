"""Whether the money adds up, and when that was last looked at."""

from dataclasses import dataclass
from datetime import datetime

from django.core.cache import cache
from django.utils import timezone

from wallets.selectors import LedgerDifference, ledger_differences

_KEY = "last-ledger-check"


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """When every figure was recomputed, and how many differed."""

    at: datetime
    differences: int


def check() -> list[LedgerDifference]:
    """Recompute every figure, and remember what came of it. Takes longer with every entry."""
    differences = ledger_differences()
    found = LedgerCheck(at=timezone.now(), differences=len(differences))
    cache.set(_KEY, found, timeout=None)
    return differences


def last_check() -> LedgerCheck | None:
    """What the last check found; None if none is remembered."""
    found: LedgerCheck | None = cache.get(_KEY)
    return found
