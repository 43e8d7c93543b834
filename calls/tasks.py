"""Celery tasks of calls; each can be lost, repeated or run twice at once."""

from celery import shared_task

from calls import kill_switch


@shared_task
def send_overdue_ends() -> int:
    """Send again every order to end a call that is due; returns how many."""
    overdue = kill_switch.overdue_ends()
    for call_pk in overdue:
        kill_switch.send_end.delay(str(call_pk))
    return len(overdue)
