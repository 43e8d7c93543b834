"""The sweep that beat runs every minute, by hand."""

from typing import Any

from django.core.management.base import BaseCommand

from wallets import ledger


class Command(BaseCommand):
    help = "Give back the holds past their expiry."

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(f"{ledger.cleanup_expired_reservations()} holds expired.")
