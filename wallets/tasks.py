"""Celery tasks of wallets; each can be lost, repeated or run twice at once."""

from uuid import UUID

import structlog
from celery import shared_task

from voxbilling import logs
from wallets import ledger_check
from wallets.alerts.sending import send_due
from wallets.payments import asking, cards, recharge, refunds

logger = structlog.get_logger(__name__)


@shared_task
def check_ledger() -> int:
    """Log an error for every figure that differs from its entries; returns how many."""
    differences = ledger_check.check()
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


@shared_task
def ask_about_topups() -> int:
    """Ask Stripe about top-ups that are still open; returns how many."""
    return asking.ask_about_topups()


@shared_task
def keep_cards() -> int:
    """Keep the cards of paid top-ups, with consent; returns how many were asked for."""
    return cards.keep_cards()


@shared_task
def resume_refunds() -> int:
    """Ask Stripe about refunds whose outcome is not known; returns how many."""
    return refunds.resume_refunds()


@shared_task
def recharge_wallet(organization_id: str) -> None:
    """Recharge a wallet that has fallen below its threshold, if it may be."""
    logs.learn(organization_id=organization_id)
    guard = recharge.recharge(UUID(organization_id))
    logger.info("recharge", outcome=guard or "begun")


@shared_task
def recharge_low_wallets() -> int:
    """Recharge the wallets that no task of theirs recharged; returns how many."""
    return recharge.recharge_low_wallets()
