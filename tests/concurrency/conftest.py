"""For the controls: the ledger's tables without what PostgreSQL itself would refuse."""

import pytest
from django.db import connection, transaction

from tests.wallets.fake_stripe import fake_stripe
from tests.wallets.invariants import execute, rows
from tests.wallets.schema import schema

__all__ = ["fake_stripe", "without_safeguards"]

TABLES = ("organizations", "credit_reservations", "credit_transactions")


@pytest.fixture
def without_safeguards(transactional_db):
    """No trigger fires and no check or unique constraint holds, until the test is over.

    What the test leaves behind may break every rule, so it is removed before the rules return.
    """
    before = [(kind, name) for kind, name, _ in schema()]
    constraints = rows(
        """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE contype IN ('c', 'u') AND conrelid::regclass::text = ANY(%s)
        """,
        (list(TABLES),),
    )
    unique_indexes = rows(
        """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indisunique AND indpred IS NOT NULL AND indrelid::regclass::text = ANY(%s)
        """,
        (list(TABLES),),
    )
    with connection.schema_editor() as editor:
        for table in TABLES:
            editor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for table, name, _ in constraints:
            editor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        for name, _ in unique_indexes:
            editor.execute(f"DROP INDEX {name}")
    yield
    with transaction.atomic():
        # The log of what staff do refuses it, too, and is not among these tables.
        execute("SET LOCAL session_replication_role = replica")
        execute("TRUNCATE organizations CASCADE")
    with connection.schema_editor() as editor:
        for table, name, definition in constraints:
            # Without parameters: a definition may have a percent sign of its own.
            editor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}', params=None)
        for _, definition in unique_indexes:
            editor.execute(definition)
        for table in TABLES:
            editor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    assert [(kind, name) for kind, name, _ in schema()] == before
    assert rows("SELECT tgname FROM pg_trigger WHERE tgenabled = 'D'") == []
