"""While an upgrade is under way, and after one was taken back, the program of before serves."""

import io
import re

import pytest
from django.apps import apps
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.core.management import call_command
from django.db import ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField, CreateModel, SeparateDatabaseAndState

from voxbilling.environment import PROJECT_DIR
from voxbilling.operations.verification import schema

OURS = {"wallets", "telephony", "calls", "webhooks"}
# They make several indexes each, and are applied somewhere.
SEVERAL_INDEXES = {
    ("calls", "0010_lists_by_time"),
    ("wallets", "0016_lists_by_time"),
    ("webhooks", "0004_events_seen_and_purged"),
    ("webhooks", "0005_lists_by_status"),
}


def migrations():
    return {
        key: list(_operations(migration.operations))
        for key, migration in MigrationLoader(None).disk_migrations.items()
        if key[0] in OURS
    }


def _operations(operations):
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _operations(operation.database_operations)
        else:
            yield operation


def added_columns():
    """Those that must not be empty, of tables that were there before."""
    for (app, _), operations in migrations().items():
        new = {
            operation.name.lower() for operation in operations if isinstance(operation, CreateModel)
        }
        for operation in operations:
            if not isinstance(operation, AddField) or operation.model_name.lower() in new:
                continue
            if not operation.field.null and not operation.field.many_to_many:
                model = apps.get_model(app, operation.model_name)
                yield model._meta.db_table, model._meta.get_field(operation.name).column


@pytest.mark.django_db
def test_what_is_added_to_a_table_has_a_default_in_the_database():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_default IS NOT NULL"
        )
        defaults = set(cursor.fetchall())
    added = set(added_columns())
    assert len(added) > 15
    assert added - defaults == set()


def test_an_index_that_is_made_concurrently_is_a_migration_of_its_own():
    """One that is interrupted leaves nothing that is in the way of the next try but that index."""
    concurrent = {
        key: operations
        for key, operations in migrations().items()
        if any(
            isinstance(each, AddIndexConcurrently | RemoveIndexConcurrently) for each in operations
        )
    }
    assert set(concurrent) >= SEVERAL_INDEXES
    for key in set(concurrent) - SEVERAL_INDEXES:
        assert len(concurrent[key]) == 1, key


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("app", "before", "interrupted"),
    [
        ("webhooks", "0003", "0004"),
        ("webhooks", "0004", "0005"),
        ("calls", "0009", "0010"),
        ("wallets", "0015", "0016"),
    ],
)
def test_a_migration_that_was_interrupted_is_made_as_it_is_written_down(app, before, interrupted):
    """As docs/operations/backup.md says."""
    made_anew = out_of("sqlmigrate", app, interrupted)
    indexes = re.findall(r'CREATE INDEX CONCURRENTLY "(\w+)" (ON .*?);', made_anew)
    assert indexes
    call_command("migrate", app, before, verbosity=0)
    try:
        with connection.cursor() as cursor:
            for name, rest in indexes[:-1] or indexes:
                cursor.execute(f'CREATE INDEX "{name}" {rest}')
        with pytest.raises(ProgrammingError, match="already exists"):
            call_command("migrate", app, interrupted, verbosity=0)

        with connection.cursor() as cursor:
            for name, _ in indexes:
                cursor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
    finally:
        call_command("migrate", verbosity=0)
    assert not [finding for finding in schema.check() if finding.is_failure]


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_that_an_interruption_lost_is_put_up_as_it_is_written_down():
    page = (PROJECT_DIR / "docs/operations/backup.md").read_text()
    [mending] = re.findall(r"```sql\n(.*?)```", page, re.S)
    lost = "webhook_events_organization_id_f8886eba_fk_organizations_id"
    call_command("migrate", "webhooks", "0004", verbosity=0)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE webhook_events DROP CONSTRAINT {lost}")
        call_command("migrate", verbosity=0)
        [missing] = [finding for finding in schema.check() if finding.is_failure]
        assert lost in missing.text
    finally:
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(mending)
    assert not [finding for finding in schema.check() if finding.is_failure]


def out_of(*command):
    written = io.StringIO()
    call_command(*command, stdout=written)
    return written.getvalue()
