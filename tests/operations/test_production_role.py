"""In production the program signs in as a role that owns nothing, so that no code path and no
console of its own can get around what the database refuses. Tried on a PostgreSQL whose roles were
made by the script that docker-compose.yml runs."""

import json
import sys
import uuid

import psycopg
import pytest
from psycopg import errors

from tests.operations.production import production_servers, run

# One cluster serves all of these tests.
pytestmark = pytest.mark.xdist_group("production role")


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """The two roles' database URLs, once the owner has migrated."""
    with production_servers(tmp_path_factory.mktemp("production") / "data") as servers:
        yield servers.urls


@pytest.fixture(scope="module")
def billed(urls):
    """What became of a call that was billed as the production role."""
    output = run(
        *(sys.executable, "-m", "tests.operations.bill_one_call"),
        DATABASE_URL=urls["voxbilling_app"],
    )
    return json.loads(output.splitlines()[-1])


@pytest.fixture
def app(urls, billed):
    """A console of the production role, over a ledger that has entries and reservations."""
    with psycopg.connect(urls["voxbilling_app"], autocommit=True) as connection:
        yield connection


def test_a_call_is_billed_end_to_end(billed):
    assert billed == {
        "assistant": "assistant",
        "held_pence": 5 * 49,
        "reserved_pence": 0,
        "balance_pence": 1_000 - 2 * 49,
        "seen_by_its_owner": [1, 1],
        "seen_by_a_stranger": [1, 0],
        "ready": "ok",
    }


def test_the_role_owns_nothing(app):
    owned = app.execute(
        "SELECT relname FROM pg_class WHERE relowner = 'voxbilling_app'::regrole"
        " UNION ALL SELECT proname FROM pg_proc WHERE proowner = 'voxbilling_app'::regrole"
        " UNION ALL SELECT nspname FROM pg_namespace WHERE nspowner = 'voxbilling_app'::regrole"
    ).fetchall()
    attributes = app.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication"
        " FROM pg_roles WHERE rolname = current_user"
    ).fetchone()

    assert owned == []
    assert attributes == (False,) * 5


def test_nobody_waits_for_a_lock_for_ever(app):
    assert app.execute("SHOW lock_timeout").fetchone() == ("10s",)


def test_every_table_is_the_owners_and_every_table_can_be_used(app):
    tables = app.execute(
        "SELECT tablename, tableowner,"
        " has_table_privilege(quote_ident(tablename), 'SELECT')"
        " AND has_table_privilege(quote_ident(tablename), 'INSERT')"
        " AND has_table_privilege(quote_ident(tablename), 'UPDATE')"
        " AND has_table_privilege(quote_ident(tablename), 'DELETE'),"
        " has_table_privilege(quote_ident(tablename), 'TRUNCATE, REFERENCES, TRIGGER')"
        " FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()

    assert len(tables) > 10
    assert {(owner, used, more) for _, owner, used, more in tables} == {
        ("voxbilling_owner", True, False)
    }


def test_row_level_security_keeps_nothing_from_the_program(app):
    bound = app.execute(
        "SELECT relname FROM pg_class"
        " WHERE relrowsecurity AND row_security_active(oid) AND relkind = 'r'"
    ).fetchall()
    organizations = app.execute("SELECT name FROM organizations ORDER BY name").fetchall()

    assert len(bound) >= 9
    assert organizations == [("Production",), ("Stranger",)]


def test_the_program_has_the_tenant_role_only_when_it_takes_it(app):
    [rights] = app.execute(
        "SELECT pg_has_role('voxbilling_tenant', 'USAGE'), pg_has_role('voxbilling_tenant', 'SET'),"
        " pg_has_role('voxbilling_tenant', 'MEMBER WITH ADMIN OPTION')"
    ).fetchall()

    assert rights == (False, True, False)


def test_the_tenant_role_sees_one_organization_and_changes_nothing(app):
    with app.transaction():
        app.execute("SET LOCAL ROLE voxbilling_tenant")
        unset = app.execute("SELECT name FROM organizations").fetchall()
        app.execute(
            "SELECT set_config('voxbilling.organization_id', %s, true)", (str(uuid.uuid4()),)
        )
        unknown = app.execute("SELECT name FROM organizations").fetchall()

    assert unset == unknown == []
    for statement in (
        "UPDATE organizations SET name = 'ours'",
        "DELETE FROM memberships",
        "SELECT control_url_encrypted FROM calls",
        "SELECT id FROM webhook_events",
        "SELECT id FROM auth_user",
        "CREATE TABLE stand_in (id uuid)",
        "CREATE TEMPORARY TABLE stand_in (id uuid)",
    ):
        with app.transaction(force_rollback=True):
            app.execute("SET LOCAL ROLE voxbilling_tenant")
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute(statement)


def test_the_owner_sees_every_row_so_that_its_backup_is_whole(urls, billed):
    with psycopg.connect(urls["voxbilling_owner"]) as owner:
        owner.execute("SET row_security = off")  # as pg_dump does: better an error than a part
        assert owner.execute("SELECT count(*) FROM organizations").fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE credit_transactions DISABLE TRIGGER ALL",
        "ALTER TABLE credit_transactions DISABLE TRIGGER credit_transactions_append_only",
        "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_balance_adds_up",
        "ALTER TABLE organizations DROP COLUMN reserved_pence",
        "DROP TRIGGER credit_transactions_append_only ON credit_transactions",
        "DROP FUNCTION credit_transactions_refuse_change() CASCADE",
        "CREATE OR REPLACE FUNCTION credit_transactions_refuse_change() RETURNS trigger"
        " LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE RULE nothing AS ON UPDATE TO organizations DO INSTEAD NOTHING",
        "TRUNCATE credit_transactions",
        "TRUNCATE organizations CASCADE",
        "DROP TABLE credit_transactions CASCADE",
        "DROP SCHEMA public CASCADE",
        "SET session_replication_role = replica",
        "ALTER ROLE voxbilling_app SET session_replication_role = replica",
        "ALTER ROLE voxbilling_app SUPERUSER",
        "SET ROLE voxbilling_owner",
        "ALTER TABLE organizations DISABLE ROW LEVEL SECURITY",
        "DROP POLICY organizations_own_rows ON organizations",
        "CREATE POLICY everything ON organizations USING (true)",
        "GRANT voxbilling_tenant TO voxbilling_owner",
        # A table of one's own could stand in for the one that a trigger means.
        "CREATE TEMPORARY TABLE credit_transactions (id uuid)",
        "CREATE TABLE stand_in (id uuid)",
        "CREATE SCHEMA voxbilling_app",
    ],
)
def test_what_takes_ownership_is_refused(app, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_transactions SET amount_pence = 1",
        "DELETE FROM credit_transactions",
        "DELETE FROM credit_reservations",
        "UPDATE credit_reservations SET status = 'active', released_at = NULL,"
        " committed_pence = NULL, released_pence = NULL WHERE status = 'released'",
    ],
)
def test_what_the_ledger_forbids_is_refused(app, statement):
    with pytest.raises(errors.RestrictViolation):
        app.execute(statement)


def test_a_balance_that_no_entry_made_is_refused(app):
    with pytest.raises(errors.CheckViolation, match="its last entry says"):
        app.execute("UPDATE organizations SET balance_pence = balance_pence + 1")


def test_held_money_without_a_hold_is_refused(app):
    with pytest.raises(errors.CheckViolation, match="its active holds sum up to"):
        app.execute(
            "UPDATE organizations SET reserved_pence = reserved_pence + 1 WHERE name = 'Production'"
        )
