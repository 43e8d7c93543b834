"""Celery tasks of the inbox; each can be lost, repeated or run twice at once."""

from celery import shared_task

from webhooks import inbox


@shared_task
def retry_webhook_events() -> int:
    """Process the messages that are due for another attempt; returns how many were tried."""
    return inbox.retry_due_events()
