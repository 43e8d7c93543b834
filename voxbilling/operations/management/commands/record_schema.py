"""Writes down what the migrations make, for `verify_billing_deployment` to compare with."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from voxbilling.operations.verification import schema


class Command(BaseCommand):
    help = (
        "Migrate an empty database of its own, and write what that makes to "
        "voxbilling/operations/verification/schema.json; run it after adding a migration."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        own_name = connection.settings_dict["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            found = schema.read_schema()
        finally:
            connection.creation.destroy_test_db(own_name, verbosity=0)
        schema.record(found)
        self.stdout.write(f"{len(found)} objects are recorded in {schema.MANIFEST}.")
