"""Messages that are long done are deleted; what failed, or waits for staff, is kept.

They are not what keeps a message from counting twice: a call is settled once and a payment is
credited once by what calls, holds and top-ups say themselves.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from webhooks.models import WebhookEvent

EVENTS_PER_BATCH = 1_000
# Of one sweep, which comes every hour: so a day can take a million.
BATCHES_PER_SWEEP = 50


def purge_events() -> int:
    """Delete what was processed WEBHOOK_EVENT_RETENTION_DAYS ago or before; returns how many."""
    before = timezone.now() - timedelta(days=settings.WEBHOOK_EVENT_RETENTION_DAYS)
    purged = 0
    for _ in range(BATCHES_PER_SWEEP):
        deleted = _purge_batch(before)
        purged += deleted
        if deleted < EVENTS_PER_BATCH:
            break
    return purged


@transaction.atomic
def _purge_batch(before: datetime) -> int:
    done = WebhookEvent.objects.filter(
        status=WebhookEvent.Status.PROCESSED, processed_at__lte=before
    )
    # One that is being replayed stays: it is done anew.
    batch = done.order_by("processed_at").select_for_update(skip_locked=True)[:EVENTS_PER_BATCH]
    deleted, _ = WebhookEvent.objects.filter(
        pk__in=[event.pk for event in batch.only("pk")]
    ).delete()
    return deleted
