"""Reads of the inbox."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min, Q, QuerySet
from django.utils import timezone

from webhooks.models import WebhookEvent

Status = WebhookEvent.Status

# More than this are not counted: whether it is a thousand or a million makes no difference.
MOST_COUNTED = 1_000
# The sweep comes twice a minute.
LATE_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class InboxFigures:
    """Messages that are not processed, by status, and when the oldest that waits was received."""

    by_status: dict[str, int]
    oldest_pending_received_at: datetime | None


def stuck_events() -> QuerySet[WebhookEvent]:
    """Messages that nothing became of: failed or unusable, tried again, or not tried in time."""
    late = timezone.now() - LATE_AFTER
    return WebhookEvent.objects.filter(
        Q(status__in=[Status.FAILED, Status.UNUSABLE])
        | Q(status=Status.PENDING) & (Q(attempts__gt=0) | Q(next_attempt_at__lt=late))
    )


def inbox_figures() -> InboxFigures:
    pending = WebhookEvent.objects.filter(status=Status.PENDING)
    return InboxFigures(
        by_status={
            status.value: WebhookEvent.objects.filter(
                status=status, status__in=[Status.FAILED, Status.UNUSABLE]
            )[:MOST_COUNTED].count()
            for status in (Status.FAILED, Status.UNUSABLE)
        }
        | {Status.PENDING.value: pending[:MOST_COUNTED].count()},
        oldest_pending_received_at=pending.aggregate(oldest=Min("received_at"))["oldest"],
    )
