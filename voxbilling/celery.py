"""The Celery application and the beat schedule.

Every task can be lost, repeated or run twice at once without harm: each finds its work in the
database and decides again under the lock.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import after_task_publish, beat_init, task_success

from voxbilling import heartbeat
from voxbilling.task_log import TaskLog

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voxbilling.settings")

app = Celery("voxbilling")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
_task_log = TaskLog()
_task_log.connect_worker_signals()


def _every(seconds: int, task: str) -> dict[str, Any]:
    # A sweep that nobody started by the time the next one is due would only do its work twice.
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


app.conf.beat_schedule = {
    "watch_live_calls": _every(5, "calls.tasks.watch_live_calls"),
    "settle_missing_reports": _every(15, "calls.tasks.settle_missing_reports"),
    "scan_vapi_calls": _every(60, "calls.tasks.scan_vapi_calls"),
    "cleanup_expired_reservations": _every(60, "calls.tasks.cleanup_expired_reservations"),
    "compare_with_vapi": _every(3600, "calls.tasks.compare_with_vapi"),
    "retry_webhook_events": _every(60, "webhooks.tasks.retry_webhook_events"),
    "resume_number_orders": _every(30, "telephony.tasks.resume_number_orders"),
    "resume_number_releases": _every(30, "telephony.tasks.resume_number_releases"),
    "charge_number_rents": _every(300, "telephony.tasks.charge_number_rents"),
    "send_alerts": _every(60, "wallets.tasks.send_alerts"),
    "ask_about_topups": _every(60, "wallets.tasks.ask_about_topups"),
    "keep_cards": _every(60, "wallets.tasks.keep_cards"),
    "resume_refunds": _every(60, "wallets.tasks.resume_refunds"),
    "fetch_missed_events": _every(300, "webhooks.tasks.fetch_missed_events"),
    "recharge_low_wallets": _every(60, "wallets.tasks.recharge_low_wallets"),
    "purge_webhook_events": _every(3600, "webhooks.tasks.purge_webhook_events"),
    "purge_sessions": _every(3600, "voxbilling.operations.tasks.purge_sessions"),
    "check_ledger": _every(3600, "wallets.tasks.check_ledger"),
}


@beat_init.connect
def _beat_begins(**_: Any) -> None:
    heartbeat.beat_began()
    # In beat's own process only: others publish tasks, too.
    after_task_publish.connect(_published)


def _published(*, sender: str, **_: Any) -> None:
    heartbeat.published(sender)


@task_success.connect
def _finished(*, sender: Any, **_: Any) -> None:
    if sender.name in periodic_tasks():
        heartbeat.finished(sender.name)


def periodic_tasks() -> dict[str, int]:
    """How often beat publishes each task, in seconds."""
    return {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
