"""The sweep that beat runs every 15 seconds, by hand."""

from typing import Any

from django.core.management.base import BaseCommand

from calls import reconciliation


class Command(BaseCommand):
    help = "Ask Vapi about the calls whose end or report is overdue, and settle those that ended."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if reconciliation.is_quiet():
            self.stdout.write("Vapi was busy or did not answer, and is left alone: try again soon.")
            return
        self.stdout.write(f"{reconciliation.settle_missing_reports()} calls asked about.")
