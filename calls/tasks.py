"""Celery tasks of calls; each can be lost, repeated or run twice at once."""

import structlog
from celery import shared_task

from calls import ends, live, reconciliation, upstream, vapi_scan
from voxbilling.heartbeat import ended_well

logger = structlog.get_logger(__name__)


@shared_task
def watch_live_calls() -> int:
    """Look at every live call that is due, and send what orders to end are left; how many calls."""
    looked_at = watch_due_calls()
    ends.sweep_at(live.moments_to_come())
    return looked_at


@shared_task
def watch_due_calls() -> int:
    """The same at one moment, for which it was scheduled; it schedules none for others' moments.

    If each sweep scheduled the next ones of all calls, they would double with every moment.
    """
    looked_at = live.watch()
    ends.send_ends(ends.take_overdue())
    return looked_at


@shared_task
def settle_missing_reports() -> int:
    """Ask Vapi about calls that it says nothing more about; returns how many."""
    return _if_vapi_answers(reconciliation.settle_missing_reports())


@shared_task
def scan_vapi_calls() -> int:
    """Bill the calls that no message told of; returns how many."""
    return ended_well(vapi_scan.scan())


@shared_task
def cleanup_expired_reservations() -> int:
    """Give back the holds past their expiry; returns how many."""
    expired = reconciliation.expire_holds()
    if expired:
        logger.info("reservations_expired", count=expired)
    return expired


@shared_task
def compare_with_vapi() -> int:
    """Compare a day's calls with Vapi's, if one is due; returns how many days were."""
    return _if_vapi_answers(int(upstream.compare_next_day() is not None))


def _if_vapi_answers(result: int) -> int:
    """What a sweep did that asks Vapi; it has not ended well if Vapi is left alone at its end."""
    return ended_well(None if reconciliation.is_quiet() else result)
