"""Celery tasks of telephony; each can be lost, repeated or run twice at once."""

import structlog
from celery import shared_task

from telephony import provisioning, releases, rentals

logger = structlog.get_logger(__name__)


@shared_task
def resume_number_orders() -> int:
    """Complete or refund orders that nobody works on; returns how many were looked at."""
    return provisioning.resume_orders()


@shared_task
def resume_number_releases() -> int:
    """Release the numbers that wait for it; returns how many were looked at."""
    return releases.resume_releases()


@shared_task
def charge_number_rents() -> int:
    """Charge the months of numbers that are due; returns how many were paid."""
    paid = rentals.charge_rents()
    if paid:
        logger.info("number_rents_charged", count=paid)
    return paid
