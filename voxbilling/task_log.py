"""Which request a task's lines in the log belong to."""

from typing import Any

from django_structlog.celery.receivers import CeleryReceiver
from structlog.contextvars import get_contextvars

from voxbilling import logs


class TaskLog(CeleryReceiver):
    """A task carries the id of the request that sent it; one that none sent is known by its own.

    It carries no more: the sweep that one call's request sends is about all calls.
    """

    def get_task_context(self) -> dict[str, Any]:
        context = get_contextvars()
        return {"request_id": context["request_id"]} if "request_id" in context else {}

    def bind_context(self, context: dict[str, Any]) -> None:
        # The task's own id is bound before.
        logs.learn(**{"request_id": get_contextvars()["task_id"], **context})
