"""Telling of calls that were ended for want of money: many calls in one e-mail.

A wallet that runs dry can end hundreds of calls within minutes. They are collected for a minute,
and what comes within a quarter of an hour after that is one e-mail more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from wallets.alerts.outbox import Kind, check_context
from wallets.models import Alert

COLLECTED_FOR = timedelta(minutes=1)
BETWEEN_EMAILS = timedelta(minutes=15)
# The others are counted only.
MOST_LISTED = 50


@dataclass(frozen=True, kw_only=True)
class CutOffCall:
    """A call that was ended because the wallet could not pay for another increment."""

    call_id: str
    number: str | None
    started_at: datetime | None


def tell_of_calls_cut_off(calls: Mapping[UUID, Sequence[CutOffCall]]) -> None:
    """Have organizations told of these calls of theirs, in a fixed number of statements.

    The caller holds the organizations' locks.
    """
    newest = Alert.objects.filter(kind=Kind.CALLS_CUT_OFF, organization__in=calls)
    newest = newest.order_by("organization_id", "-key").distinct("organization_id")
    told = {alert.organization_id: alert for alert in newest}
    # One that is being sent meanwhile has its attempt counted by then, and takes no more calls.
    waiting = Alert.objects.select_for_update().filter(
        pk__in=[alert.pk for alert in told.values()], status=Alert.Status.PENDING, attempts=0
    )
    open_alerts = {alert.organization_id: alert for alert in waiting}
    for organization_id, alert in open_alerts.items():
        alert.context = _with_calls(alert.context, calls[organization_id])
    Alert.objects.bulk_update(open_alerts.values(), ["context"])
    Alert.objects.bulk_create(
        _new_alert(organization_id, calls[organization_id], told.get(organization_id))
        for organization_id in calls
        if organization_id not in open_alerts
    )


def _new_alert(
    organization_id: UUID, calls: Sequence[CutOffCall], last_told: Alert | None
) -> Alert:
    now = timezone.now()
    due_at = now + COLLECTED_FOR
    if last_told is not None:
        due_at = max(due_at, datetime.fromisoformat(last_told.key) + BETWEEN_EMAILS)
    context = _with_calls({"count": 0, "calls": []}, calls)
    check_context(Kind.CALLS_CUT_OFF, context)
    return Alert(
        organization_id=organization_id,
        kind=Kind.CALLS_CUT_OFF,
        # When it is due, in one form and in UTC: the newest is the last in order.
        key=due_at.astimezone(UTC).isoformat(timespec="microseconds"),
        context=context,
        created_at=now,
        next_attempt_at=due_at,
    )


def _with_calls(context: Mapping[str, Any], calls: Iterable[CutOffCall]) -> dict[str, Any]:
    added = [
        {"call_id": call.call_id, "number": call.number, "started_at": call.started_at}
        for call in calls
    ]
    return {
        "count": context["count"] + len(added),
        "calls": [*context["calls"], *added][:MOST_LISTED],
    }
