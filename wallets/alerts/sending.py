"""Sending the alerts that are due: each is claimed, sent with no lock held, and marked.

An alert is sent at least once: one whose sender died after the mail server took it is sent again,
with the same Message-ID.
"""

import smtplib
import time
from datetime import timedelta
from typing import Any

import structlog
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from voxbilling.storable_text import storable
from wallets.alerts.recipients import addresses_of
from wallets.alerts.rendering import message_for
from wallets.models import Alert

logger = structlog.get_logger(__name__)

Status = Alert.Status

# How long whoever claimed an alert has it to themselves: longer than a mail server is waited for.
CLAIM = timedelta(minutes=10)
# Sent again after 1, 2, 4 … minutes, up to an hour; after so many attempts staff are told.
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
MAX_ATTEMPTS = 12

# One sender at a time: a mail server that hangs must not keep the threads of the worker, which
# watch live calls. That a claim is sent once does not depend on it.
_TURN = "alerts-are-being-sent"
TURN_SECONDS = 120
SENDING_SECONDS = 60
_OF_THIS_ALERT = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)


def send_due() -> int:
    """Send the alerts that are due, unless somebody is at it; returns how many were sent.

    A mail server that cannot be used is left alone until the next sweep.
    """
    if not cache.add(_TURN, 1, timeout=TURN_SECONDS):
        return 0
    try:
        return _send_until(time.monotonic() + SENDING_SECONDS)
    finally:
        cache.delete(_TURN)


def send_again(alert: Alert) -> bool:
    """Have an alert that was given up, or had nobody to go to, sent by the next sweep.

    Returns whether it was one.
    """
    return bool(
        Alert.objects.filter(pk=alert.pk, status__in=[Status.FAILED, Status.NOBODY]).update(
            status=Status.PENDING, attempts=0, next_attempt_at=timezone.now()
        )
    )


def _send_until(ends_at: float) -> int:
    sent = 0
    while time.monotonic() < ends_at and (alert := _claim_next()):
        try:
            sent += _send(alert)
        except Exception as error:  # noqa: BLE001 - recorded with the alert, for staff to see
            _record_failure(alert, error)
            # SMTP's errors are OSErrors, too. A recipient or a message that it does not take says
            # nothing of the others.
            if isinstance(error, OSError) and not isinstance(error, _OF_THIS_ALERT):
                break
    return sent


@transaction.atomic(durable=True)
def _claim_next() -> Alert | None:
    """Take the alert that is due for longest; for a while nobody else gets it."""
    now = timezone.now()
    due = Alert.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
    alert = due.select_for_update(skip_locked=True).first()
    if alert is not None:
        alert.attempts += 1
        alert.next_attempt_at = now + CLAIM
        alert.save(update_fields=["attempts", "next_attempt_at"])
    return alert


def _send(alert: Alert) -> bool:
    """Send a claimed alert; returns False if there is nobody to send it to."""
    addresses = addresses_of(alert.organization)
    if not addresses:
        logger.warning("alert_to_nobody", organization_id=str(alert.organization_id))
        _mark(alert, status=Status.NOBODY, next_attempt_at=None)
        return False
    message_for(alert, addresses).send()
    _mark(
        alert,
        status=Status.SENT,
        sent_at=timezone.now(),
        sent_to="\n".join(addresses),
        next_attempt_at=None,
        last_error="",
    )
    return True


def _record_failure(alert: Alert, error: Exception) -> None:
    """Remember what went wrong, and when to try again; staff are told when that is over."""
    facts = {"alert_id": str(alert.pk), "kind": alert.kind, "failure": type(error).__name__}
    last_error = storable(f"{type(error).__name__}: {error}"[:2000])
    if alert.attempts >= MAX_ATTEMPTS:
        logger.error("alert_given_up", organization_id=str(alert.organization_id), **facts)
        _mark(alert, status=Status.FAILED, next_attempt_at=None, last_error=last_error)
    else:
        logger.warning("alert_not_sent", **facts)
        pause = min(FIRST_RETRY * 2 ** (alert.attempts - 1), LONGEST_RETRY)
        _mark(alert, next_attempt_at=timezone.now() + pause, last_error=last_error)


def _mark(alert: Alert, **changes: Any) -> None:
    """Note what came of a claim, unless it took so long that somebody else has claimed it since."""
    claimed = Alert.objects.filter(pk=alert.pk, status=Status.PENDING, attempts=alert.attempts)
    claimed.update(**changes)
