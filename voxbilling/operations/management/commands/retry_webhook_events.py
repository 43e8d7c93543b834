"""The sweep that beat runs every minute, by hand."""

from typing import Any

from django.core.management.base import BaseCommand

from webhooks import inbox


class Command(BaseCommand):
    help = "Process the stored messages that are due for another attempt."

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(f"{inbox.retry_due_events()} messages tried again.")
