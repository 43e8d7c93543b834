"""The sweep that beat runs every minute, by hand."""

from typing import Any

from django.core.management.base import BaseCommand

from calls import reconciliation


class Command(BaseCommand):
    help = (
        "Give back the holds past their expiry, but of calls that Vapi has to be asked about first."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(f"{reconciliation.expire_holds()} holds expired.")
