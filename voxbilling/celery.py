"""The Celery application and the beat schedule.

Every task can be lost, repeated or run twice at once without harm: each finds its work in the
database and decides again under the lock.
"""

import os
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voxbilling.settings")

app = Celery("voxbilling")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _every(seconds: int, task: str) -> dict[str, Any]:
    # A sweep that nobody started by the time the next one is due would only do its work twice.
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


app.conf.beat_schedule = {
    "watch_live_calls": _every(5, "calls.tasks.watch_live_calls"),
    "cleanup_expired_reservations": _every(60, "wallets.tasks.cleanup_expired_reservations"),
    "retry_webhook_events": _every(60, "webhooks.tasks.retry_webhook_events"),
    "check_ledger": _every(3600, "wallets.tasks.check_ledger"),
}
