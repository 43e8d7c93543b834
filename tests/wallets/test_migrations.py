"""The wallets' migrations go both ways, and say all that the models say."""

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from tests.factories import OrganizationFactory
from tests.wallets.invariants import check_deferred_constraints, execute, rows
from tests.wallets.steps import commit

TABLES = ("organizations", "memberships", "credit_reservations", "credit_transactions")

# All that a table is: its columns, constraints, indexes, triggers, and the triggers' functions.
SCHEMA = """
    SELECT 'column', table_name::text || '.' || column_name,
        concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY(%(tables)s)
    UNION ALL
    SELECT 'constraint', conname::text, pg_get_constraintdef(c.oid) FROM pg_constraint c
    JOIN pg_class t ON t.oid = conrelid WHERE relname = ANY(%(tables)s)
    UNION ALL
    SELECT 'index', indexname::text, indexdef FROM pg_indexes WHERE tablename = ANY(%(tables)s)
    UNION ALL
    SELECT 'trigger', tgname::text, pg_get_triggerdef(g.oid) FROM pg_trigger g
    JOIN pg_class t ON t.oid = tgrelid WHERE relname = ANY(%(tables)s) AND NOT tgisinternal
    UNION ALL
    SELECT 'function', proname::text, pg_get_functiondef(p.oid) FROM pg_proc p
    WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
    ORDER BY 1, 2
"""


def schema():
    with connection.cursor() as cursor:
        cursor.execute(SCHEMA, {"tables": list(TABLES)})
        return cursor.fetchall()


@pytest.fixture
def rolled_back(db):
    """PostgreSQL rolls DDL back too, so the test's database is left as it was."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_given_all_migrations_when_taken_back_and_made_again_then_the_schema_is_the_same(
    rolled_back,
):
    before = schema()

    call_command("migrate", "wallets", "zero", verbosity=0)
    assert schema() == []

    call_command("migrate", verbosity=0)
    assert schema() == before

    organization = OrganizationFactory(funded_pence=100)
    commit("call-1", 61, organization_id=organization.pk)
    check_deferred_constraints()


def test_given_money_in_the_ledger_when_each_migration_is_taken_back_then_it_comes_again(
    rolled_back,
):
    """Only what makes tables loses rows; what adds triggers and columns keeps them."""
    OrganizationFactory(funded_pence=100)
    check_deferred_constraints()
    before = schema()

    call_command("migrate", "wallets", "0001", verbosity=0)
    assert "trigger" not in {kind for kind, _, _ in schema()}
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    call_command("migrate", verbosity=0)

    assert schema() == before
    assert rows("SELECT balance_pence FROM organizations") == [(100,)]


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
