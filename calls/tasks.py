"""Celery tasks of calls; each can be lost, repeated or run twice at once."""

from celery import shared_task

from calls import ends, live


@shared_task
def watch_live_calls() -> int:
    """Look at every live call that is due, and send what orders to end are left; how many calls."""
    looked_at = live.watch()
    ends.send_ends(ends.overdue())
    ends.sweep_at(live.moments_to_come())
    return looked_at
