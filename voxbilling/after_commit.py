"""Sending a task once what is being done is committed."""

from typing import Any

from celery import current_app
from django.db import transaction


def send_after_commit(task: str, **options: Any) -> None:
    """Send a task by its name when the transaction is committed; `options` are Celery's.

    A broker that is down fails nothing that was committed: a sweep does what a lost task would.
    """
    # Not a partial: Django asks a robust hook that failed for its name, which partials lack.
    transaction.on_commit(lambda: current_app.send_task(task, **options), robust=True)
