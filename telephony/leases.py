"""Work with providers that one process does at a time, and that another takes over if it dies.

A row with `work_due_at` has work to do. Whoever takes it moves that time into the future: the row
is theirs until then. Every step is written down only while the row still is theirs, and renews the
lease, so a process that was slow finds out and leaves the row alone. No lock and no transaction
stays open meanwhile.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from telephony.models import ProviderWork
from telephony.providers import ProviderError

logger = structlog.get_logger(__name__)

# Longer than any one step takes: it waits for a provider some 25 seconds at the most.
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
# Some hour. From then on staff see it, and it is still tried every hour.
ATTEMPTS_BEFORE_ATTENTION = 8
# A sweep that meets a provider that is down leaves the worker's threads to others after this.
SWEEP_SECONDS = 20.0
MOST_PER_SWEEP = 200

Work = TypeVar("Work", bound=ProviderWork)


class LeaseLost(Exception):
    """Somebody else has taken the row over: what was done for it is theirs to find out."""


def lease_end() -> datetime:
    """Until when a row is mine that I take or write now."""
    return timezone.now() + LEASE


def take(rows: QuerySet[Work]) -> Work | None:
    """Take the row that has been due longest, if there is one that nobody takes right now."""
    with transaction.atomic(durable=True):
        row = (
            rows.filter(work_due_at__lte=timezone.now())
            .select_for_update(skip_locked=True, no_key=True)
            .order_by("work_due_at")
            .first()
        )
        if row is not None:
            row.work_due_at = lease_end()
            row.work_attempts += 1
            row.save(update_fields=["work_due_at", "work_attempts"])
    return row


def record(row: ProviderWork, **changes: Any) -> None:
    """Write a step down and renew the lease. Raises LeaseLost, and then nothing was written."""
    changes = {"work_due_at": lease_end(), **changes}
    # Whoever takes a row over gives it another time.
    mine = type(row)._default_manager.filter(pk=row.pk, work_due_at=row.work_due_at)
    if not mine.update(**changes):
        raise LeaseLost
    for name, value in changes.items():
        setattr(row, name, value)


def postpone(row: ProviderWork, why: Exception, *, until: datetime | None = None) -> None:
    """Give the row back, to be taken again after a pause that grows."""
    pause = min(FIRST_PAUSE * 2 ** min(row.work_attempts, 20), LONGEST_PAUSE)
    changes: dict[str, Any] = {"work_due_at": until or timezone.now() + pause}
    if row.work_attempts >= ATTEMPTS_BEFORE_ATTENTION:
        reason = str(why) if isinstance(why, ProviderError) else type(why).__name__
        changes["attention"] = f"Not finished after {row.work_attempts} attempts: {reason}"[:500]
    logger.warning(
        "provider_work_postponed",
        what=type(row).__name__,
        id=str(row.pk),
        attempts=row.work_attempts,
        reason=str(why) if isinstance(why, ProviderError) else type(why).__name__,
    )
    record(row, **changes)


def do(row: Work, work: Callable[[Work], None]) -> None:
    """Do the work of a row that is mine; what a provider did not do is put off."""
    try:
        work(row)
    except LeaseLost:
        logger.warning("provider_work_taken_over", what=type(row).__name__, id=str(row.pk))
    except ProviderError as error:
        _postpone_if_mine(row, error)


def sweep(rows: QuerySet[Work], work: Callable[[Work], None]) -> int:
    """Do the work of rows that are due, one after another, for a bounded time; returns how many."""
    until = time.monotonic() + SWEEP_SECONDS
    done = 0
    while done < MOST_PER_SWEEP and time.monotonic() < until:
        row = take(rows)
        if row is None:
            break
        try:
            do(row, work)
        except Exception as error:
            # The others have their turn, and staff see it if it goes on.
            logger.exception("provider_work_failed", what=type(row).__name__, id=str(row.pk))
            _postpone_if_mine(row, error)
        done += 1
    return done


def _postpone_if_mine(row: ProviderWork, why: Exception) -> None:
    try:
        postpone(row, why)
    except LeaseLost:
        logger.warning("provider_work_taken_over", what=type(row).__name__, id=str(row.pk))
