"""Makes the embedded stack ready: migrations, logins, three organizations to try things with."""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from voxbilling.operations.simulation.organizations import prepare


class Command(BaseCommand):
    help = (
        "Migrate, and make the organizations and logins of the embedded stack; prints them as one "
        "JSON object. Run again, it refills their wallets. Only with DEBUG on."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("This makes logins for trying things out: it needs DEBUG to be on.")
        call_command("migrate", interactive=False, verbosity=0, stdout=sys.stderr)
        self.stdout.write(json.dumps(prepare()))
