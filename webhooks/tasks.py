"""Celery tasks of the inbox; each can be lost, repeated or run twice at once."""

import structlog
from celery import shared_task

from voxbilling.heartbeat import ended_well
from webhooks import inbox, missed_events, purge

logger = structlog.get_logger(__name__)


@shared_task
def retry_webhook_events() -> int:
    """Process the messages that are due for another attempt; returns how many were tried."""
    return inbox.retry_due_events()


@shared_task
def fetch_missed_events() -> int:
    """Receive the events that Stripe could not deliver; returns how many it listed."""
    return ended_well(missed_events.fetch_missed_events())


@shared_task
def purge_webhook_events() -> int:
    """Delete the messages that were processed long ago; returns how many."""
    purged = purge.purge_events()
    if purged:
        logger.info("webhook_events_purged", count=purged)
    return purged
