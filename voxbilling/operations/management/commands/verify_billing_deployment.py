"""Proves that a deployment is whole: the database, the ledger, the settings, the processes."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection, transaction

from voxbilling.operations.verification import configuration, database, ledger, processes, schema
from voxbilling.operations.verification.findings import Finding, Verdict, failed, ok

_IN_THE_DATABASE = {
    "database": database.check,
    "schema": schema.check,
    "ledger": ledger.check,
    "balances": ledger.check_balances,
}


class Command(BaseCommand):
    help = (
        "Check tables, columns, constraints, indexes, triggers, row-level security, the ledger's "
        "functions, balances, settings, broker, worker and beat; a line each; exit 1 on any "
        "failure. Changes nothing."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        colours = {
            Verdict.OK: self.style.SUCCESS,
            Verdict.WARNING: self.style.WARNING,
            Verdict.FAILED: self.style.ERROR,
        }
        lines = failures = 0
        for finding in _findings():
            self.stdout.write(colours[finding.verdict](f"{finding}"))
            self.stdout.flush()
            lines += 1
            failures += finding.is_failure
        if failures:
            raise CommandError(f"This deployment is not whole: {failures} of {lines} lines failed.")
        self.stdout.write("This deployment is whole.")


def _findings() -> Iterator[Finding]:
    yield from configuration.check()
    yield from _database_findings()
    yield from processes.check()


def _database_findings() -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            [version] = cursor.fetchone()
    except DatabaseError as error:
        yield failed("database", f"cannot be reached: {f'{error}'.strip().splitlines()[0]}")
        return
    yield ok("database", f"PostgreSQL {version} answers")
    for subject, check in _IN_THE_DATABASE.items():
        try:
            # What breaks one check must not break the next, also within somebody's transaction.
            with transaction.atomic():
                findings = list(check())
            yield from findings
        except DatabaseError as error:
            yield failed(subject, f"could not be checked: {f'{error}'.strip().splitlines()[0]}")
