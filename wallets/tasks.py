"""Celery tasks of wallets; each can be lost, repeated or run twice at once."""

import structlog
from celery import shared_task

from wallets.alerts.sending import send_due
from wallets.selectors import ledger_differences

logger = structlog.get_logger(__name__)


@shared_task
def check_ledger() -> int:
    """Log an error for every figure that differs from its entries; returns how many."""
    differences = ledger_differences()
    for difference in differences:
        logger.error(
            "ledger_difference",
            organization_id=str(difference.organization_id),
            figure=difference.figure,
            recorded=difference.recorded,
            recomputed=difference.recomputed,
        )
    return len(differences)


@shared_task
def send_alerts() -> int:
    """Send the e-mails that are due; returns how many were sent."""
    return send_due()
