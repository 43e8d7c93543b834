"""Reads of the inbox."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min

from webhooks.models import WebhookEvent

Status = WebhookEvent.Status

# More than this are not counted: whether it is a thousand or a million makes no difference.
MOST_COUNTED = 1_000


@dataclass(frozen=True, kw_only=True)
class InboxFigures:
    """Messages that are not processed, by status, and when the oldest that waits was received."""

    by_status: dict[str, int]
    oldest_pending_received_at: datetime | None


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
