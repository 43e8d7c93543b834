"""Celery tasks that keep tables small; each can be lost, repeated or run twice at once."""

from celery import shared_task
from django.contrib.sessions.models import Session
from django.utils import timezone

SESSIONS_PER_SWEEP = 10_000


@shared_task
def purge_sessions() -> int:
    """Delete sessions that have expired, a bounded number; returns how many."""
    expired = Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date")
    keys = list(expired.values_list("pk", flat=True)[:SESSIONS_PER_SWEEP])
    deleted, _ = Session.objects.filter(pk__in=keys, expire_date__lt=timezone.now()).delete()
    return deleted
