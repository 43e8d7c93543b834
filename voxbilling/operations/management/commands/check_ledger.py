"""Recomputes every balance, hold sum and owed sum."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from wallets.models import Organization
from wallets.selectors import ledger_differences


class Command(BaseCommand):
    help = (
        "Recompute every balance, hold sum and owed sum from entries and reservations; exit 1 on "
        "any difference, with the organization and both figures."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        differences = ledger_differences()
        for difference in differences:
            self.stdout.write(f"{difference}")
        if differences:
            raise CommandError(f"The ledger does not add up: {len(differences)} differences.")
        self.stdout.write(
            f"The ledger adds up: {Organization.objects.count()} organizations checked."
        )
