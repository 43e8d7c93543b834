"""`verify_billing_deployment` finds what is wrong in the database and in the settings.

Worker, beat and the production role have tests of their own.
"""

from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from tests.factories import OrganizationFactory
from tests.operations.test_commands import falsify
from tests.wallets.invariants import check_deferred_constraints, execute, nothing_changes, rows
from voxbilling.operations.verification import processes, schema
from voxbilling.tenancy import TENANT_ROLE
from wallets import ledger

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def whole_otherwise(settings, monkeypatch):
    settings.DEBUG = True
    monkeypatch.setattr(processes, "check", lambda: iter(()))


def verify() -> tuple[int, list[str]]:
    """The exit code and the lines."""
    out = StringIO()
    exit_code = 0
    try:
        call_command("verify_billing_deployment", stdout=out)
    except CommandError as error:
        exit_code = error.returncode
    return exit_code, out.getvalue().splitlines()


def failures() -> list[str]:
    exit_code, lines = verify()
    failed = [line for line in lines if line.startswith("✗")]
    assert exit_code == (1 if failed else 0)
    return failed


def test_a_whole_deployment_is_found_whole_and_left_as_it_is():
    organization = OrganizationFactory(funded_pence=1_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id="live")
    check_deferred_constraints()

    with nothing_changes():
        exit_code, lines = verify()

    assert exit_code == 0
    assert lines[-1] == "This deployment is whole."
    assert {line[0] for line in lines[:-1]} == {"✓", "!"}
    said = "\n".join(lines)
    for function in (
        "check_balance_and_deduct_asset_cost",
        "reserve_call_credits",
        "commit_reserved_credits",
        "cleanup_expired_reservations",
    ):
        assert f"✓ {function}: " in said
    assert "✓ balances: those of 1 organizations" in said


def test_the_recorded_schema_is_what_the_migrations_make():
    """If this fails, a migration was added: run `make schema` and commit what it writes."""
    assert schema.recorded_schema() == schema.read_schema()


def test_what_is_recorded_is_read_back(tmp_path, monkeypatch):
    committed = schema.MANIFEST.read_text()
    monkeypatch.setattr(schema, "MANIFEST", tmp_path / "schema.json")

    schema.record(schema.read_schema())

    assert schema.MANIFEST.read_text() == committed


def test_a_schema_that_was_restored_from_a_dump_is_the_same(db):
    """A dump says what a check is as PostgreSQL spells it, and that is read again differently."""
    checks = rows(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )
    assert any("::text[]" in definition for _, _, definition in checks)

    for table, name, definition in checks:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
            cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')

    assert schema.read_schema() == schema.recorded_schema()


BALANCE_ADDS_UP = "credit_transactions.credit_transactions_balance_adds_up"
REPLACED_FUNCTION = (
    "CREATE OR REPLACE FUNCTION credit_transactions_refuse_change() RETURNS trigger"
    " LANGUAGE plpgsql SET search_path = public, pg_temp AS 'BEGIN RETURN NULL; END'"
)


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (
            "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_balance_adds_up",
            f"constraint: {BALANCE_ADDS_UP} is missing",
        ),
        (
            "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_balance_adds_up,"
            " ADD CONSTRAINT credit_transactions_balance_adds_up CHECK (true)",
            f"constraint: {BALANCE_ADDS_UP} is changed: it is CHECK (true), not CHECK ",
        ),
        (
            "DROP INDEX idx_credit_res_expires",
            "index: credit_reservations.idx_credit_res_expires is missing",
        ),
        (
            "DROP INDEX idx_credit_res_expires; CREATE INDEX idx_credit_res_expires"
            " ON credit_reservations (expires_at)",
            "index: credit_reservations.idx_credit_res_expires is changed: it is CREATE INDEX",
        ),
        (
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'idx_credit_res_expires'::regclass",
            "index: credit_reservations.idx_credit_res_expires is disabled",
        ),
        (
            "DROP TRIGGER credit_transactions_append_only ON credit_transactions",
            "trigger: credit_transactions.credit_transactions_append_only is missing",
        ),
        (
            "ALTER TABLE organizations DISABLE TRIGGER organizations_matches_holds",
            "trigger: organizations.organizations_matches_holds is disabled",
        ),
        (
            "CREATE TRIGGER meddles BEFORE UPDATE ON organizations"
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "trigger: organizations.meddles is not made by any migration",
        ),
        (REPLACED_FUNCTION, "function: credit_transactions_refuse_change is changed"),
        (
            "ALTER FUNCTION credit_transactions_refuse_change RESET search_path",
            "function: credit_transactions_refuse_change is changed: it is no settings of its own",
        ),
        (
            "DROP FUNCTION credit_transactions_refuse_change CASCADE",
            "function: credit_transactions_refuse_change is missing",
        ),
        (
            "ALTER TABLE calls DISABLE ROW LEVEL SECURITY",
            "row-level security: calls is disabled",
        ),
        ("DROP POLICY calls_own_rows ON calls", "policy: calls.calls_own_rows is missing"),
        (
            "ALTER POLICY calls_own_rows ON calls USING (true)",
            "policy: calls.calls_own_rows is changed",
        ),
        (
            "CREATE POLICY everything ON calls USING (true)",
            "policy: calls.everything is not made by any migration",
        ),
        (
            f"GRANT SELECT (control_url_encrypted) ON calls TO {TENANT_ROLE}",
            "grant: SELECT on calls.control_url_encrypted is not made by any migration",
        ),
        (
            f"REVOKE SELECT (call_id) ON calls FROM {TENANT_ROLE}",
            "grant: SELECT on calls.call_id is missing",
        ),
        (
            "CREATE RULE nothing AS ON UPDATE TO organizations DO INSTEAD NOTHING",
            "rule: organizations.nothing is not made by any migration",
        ),
        ("ALTER TABLE calls DROP COLUMN charged_pence CASCADE", "column: calls.charged_pence is"),
        (
            "ALTER TABLE calls ALTER COLUMN call_id DROP NOT NULL",
            "column: calls.call_id is changed: it is character varying(200), not character",
        ),
        ("DROP TABLE appointments CASCADE", "table: appointments is missing"),
        ("DROP TABLE credit_transactions CASCADE", "table: credit_transactions is missing"),
        ("ALTER TABLE webhook_events SET UNLOGGED", "table: webhook_events is changed: it is not"),
        (f"ALTER ROLE {TENANT_ROLE} LOGIN", f"role: {TENANT_ROLE} is changed: it is may sign in"),
        ("SET LOCAL session_replication_role = replica", "database role: voxbilling sets session_"),
        (
            "DELETE FROM django_migrations WHERE app = 'webhooks' AND name LIKE '0005%%'",
            "migrations: not applied: webhooks.0005_lists_by_status",
        ),
    ],
)
def test_what_is_wrong_in_the_database_fails_and_is_named(mistake, line):
    execute(mistake)

    assert any(found.startswith(f"✗ {line}") for found in failures()), failures()


def test_a_foreign_key_whose_triggers_are_disabled_is_found():
    execute("ALTER TABLE memberships DISABLE TRIGGER ALL")

    found = failures()

    assert len(found) == 2
    for line in found:
        assert line.startswith("✗ constraint: memberships.memberships_")
        assert line.endswith("_id is disabled")


def test_an_operators_own_table_is_nobodys_business():
    execute("CREATE TABLE notes (id bigint PRIMARY KEY, note text NOT NULL)")

    assert failures() == []


@pytest.mark.parametrize(
    ("mistake", "accepted"),
    [
        (
            "ALTER TABLE organizations DROP CONSTRAINT organizations_within_debt_limit",
            "an overdraft",
        ),
        (
            "DROP INDEX credit_transactions_one_charge_per_call",
            "a second charge for a call",
        ),
        (
            "ALTER TABLE credit_transactions DROP CONSTRAINT idx_credit_txn_idempotency",
            "a key used twice",
        ),
        (
            "ALTER TABLE credit_reservations DROP CONSTRAINT credit_reservations_call_id_key",
            "a second hold for a call",
        ),
        (
            "ALTER TABLE organizations DISABLE TRIGGER organizations_matches_last_entry",
            "a balance without an entry",
        ),
        (
            "ALTER TABLE organizations DISABLE TRIGGER organizations_matches_holds",
            "held money without a hold",
        ),
        (
            "ALTER TABLE credit_reservations DISABLE TRIGGER credit_reservations_close_once",
            "a call settled again",
        ),
        (REPLACED_FUNCTION.replace("RETURN NULL", "RETURN NEW"), "a changed entry"),
        (
            "ALTER TABLE credit_reservations DISABLE TRIGGER credit_reservations_kept",
            "a deleted hold",
        ),
    ],
)
def test_what_the_database_no_longer_refuses_is_tried_and_named(mistake, accepted):
    execute(mistake)

    assert f"✗ refusals: the database accepts {accepted}" in failures()


@pytest.mark.parametrize(
    ("name", "breakage", "line"),
    [
        ("check_balance_and_deduct_asset_cost", {"balance_after_pence": 1}, "a purchase leaves"),
        ("reserve_call_credits", {"reserved_pence": 1}, "ten minutes hold 500, and it was 1"),
        ("commit_reserved_credits", {"duplicate": False}, "what was repeated was done twice"),
    ],
)
def test_a_function_of_the_ledger_that_does_wrong_is_named(monkeypatch, name, breakage, line):
    works = getattr(ledger, name)
    monkeypatch.setattr(ledger, name, lambda **asked: replace(works(**asked), **breakage))

    found = [failure for failure in failures() if failure.startswith(f"✗ {name}: ")]

    assert len(found) == 1
    assert line in found[0]


def test_a_sweep_that_does_nothing_is_named(monkeypatch):
    monkeypatch.setattr(ledger, "cleanup_expired_reservations", lambda: 0)

    assert failures() == [
        "✗ cleanup_expired_reservations: a hold past its expiry is expired, and it was active"
    ]


def test_a_tenant_that_sees_everything_is_named():
    execute("ALTER TABLE organizations DISABLE ROW LEVEL SECURITY")

    assert any(line.startswith("✗ tenant scope: organizations that") for line in failures())


def test_a_broken_balance_fails_and_names_the_organization_and_both_figures():
    organization = OrganizationFactory(name="Tampered", funded_pence=1_000)
    falsify("UPDATE organizations SET balance_pence = 1001 WHERE id = %s", organization.pk)

    assert failures() == [
        f"✗ balances: Tampered ({organization.pk}): balance_pence is recorded as 1001, but "
        "recomputed as 1000"
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"SECRET_KEY": "short"}, "SECRET_KEY has less than 50 characters"),
        ({"SECRET_KEY_FALLBACKS": ["short"]}, "SECRET_KEY_FALLBACKS[0] has less than 50"),
        (
            {"VAPI_WEBHOOK_SECRETS": [], "VAPI_WEBHOOK_HMAC_SECRETS": []},
            "every webhook is refused: set VAPI_WEBHOOK_SECRETS or VAPI_WEBHOOK_HMAC_SECRETS",
        ),
        ({"VAPI_WEBHOOK_SECRETS": ["long-enough-secret", "short"]}, "VAPI_WEBHOOK_SECRETS has a"),
        ({"VAPI_WEBHOOK_HMAC_SECRETS": ["short"]}, "VAPI_WEBHOOK_HMAC_SECRETS has a secret of"),
        ({"VAPI_API_KEY": ""}, "VAPI_API_KEY is missing"),
        ({"TWILIO_ACCOUNT_SID": " "}, "TWILIO_ACCOUNT_SID is missing"),
        ({"TWILIO_AUTH_TOKEN": ""}, "TWILIO_AUTH_TOKEN is missing"),
        ({"STRIPE_SECRET_KEY": ""}, "STRIPE_SECRET_KEY is missing"),
        ({"STRIPE_WEBHOOK_SECRET": "short"}, "STRIPE_WEBHOOK_SECRET has less than 16 characters"),
    ],
)
def test_a_missing_or_weak_secret_fails_and_is_named(settings, changes, line):
    for name, value in changes.items():
        setattr(settings, name, value)

    found = failures()

    assert len(found) == 1
    assert line in found[0]
    assert "short" not in found[0]


def test_with_debug_off_the_open_addresses_and_the_owners_role_fail_too(settings):
    settings.DEBUG = False

    found = failures()

    assert any("TWILIO_API_URL is no https address" in line for line in found)
    assert any("owns tables" in line for line in found)
    assert any("security.W008" in line for line in found)


def test_a_database_that_does_not_answer_fails_in_one_line(monkeypatch):
    def refuse(*_args):
        raise OperationalError("connection refused\nand more")

    monkeypatch.setattr(connection, "cursor", refuse)

    assert failures() == ["✗ database: cannot be reached: connection refused"]


def test_nothing_is_left_of_what_was_tried():
    verify()

    assert rows("SELECT count(*) FROM organizations") == [(0,)]
    assert rows("SELECT count(*) FROM credit_transactions") == [(0,)]
