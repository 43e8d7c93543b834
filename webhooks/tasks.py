"""Celery tasks of the inbox; each can be lost, repeated or run twice at once."""

from celery import shared_task

from webhooks import inbox, missed_events


@shared_task
def retry_webhook_events() -> int:
    """Process the messages that are due for another attempt; returns how many were tried."""
    return inbox.retry_due_events()


@shared_task
def fetch_missed_events() -> int:
    """Receive the events that Stripe could not deliver; returns how many it listed."""
    return missed_events.fetch_missed_events()
