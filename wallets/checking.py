"""Whether the money adds up, and when that was last looked at."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.core.cache import cache
from django.utils import timezone

from voxbilling.valkey import UNREACHABLE
from wallets.selectors import LedgerDifference, ledger_differences

logger = structlog.get_logger(__name__)

_KEY = "last-ledger-check"


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """When every figure was recomputed, and how many differed."""

    at: datetime
    differences: int


def check() -> list[LedgerDifference]:
    """Recompute every figure, and remember what came of it, if Valkey answers.

    Takes longer with every entry.
    """
    differences = ledger_differences()
    found = LedgerCheck(at=timezone.now(), differences=len(differences))
    try:
        cache.set(_KEY, found, timeout=None)
    except UNREACHABLE as error:
        logger.warning("ledger_check_not_remembered", error=str(error))
    return differences


def last_check() -> LedgerCheck | None:
    """What the last check found; None if none is remembered.

    Raises one of UNREACHABLE when Valkey, which remembers it, does not answer.
    """
    found: LedgerCheck | None = cache.get(_KEY)
    return found
