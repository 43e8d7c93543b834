"""The wallets' migrations go both ways, and say all that the models say."""

import pytest
from django.core.management import call_command

from tests.factories import OrganizationFactory
from tests.wallets.invariants import rows
from tests.wallets.schema import schema
from tests.wallets.steps import commit


@pytest.fixture
def migrated_at_the_end(transactional_db):
    """The database itself is migrated, since an index is made outside transactions."""
    yield
    call_command("migrate", verbosity=0)


def test_given_all_migrations_when_taken_back_and_made_again_then_the_schema_is_the_same(
    migrated_at_the_end,
):
    schemas = []
    for _ in range(2):
        call_command("migrate", "wallets", "zero", verbosity=0)
        assert schema() == []

        call_command("migrate", verbosity=0)
        schemas.append(schema())
    assert schemas[0] == schemas[1]

    organization = OrganizationFactory(funded_pence=100)
    commit("call-1", 61, organization_id=organization.pk)


def test_given_money_in_the_ledger_when_each_migration_is_taken_back_then_it_comes_again(
    migrated_at_the_end,
):
    """Only what makes tables loses rows; what adds triggers and columns keeps them."""
    OrganizationFactory(funded_pence=100)
    before = schema()

    call_command("migrate", "wallets", "0001", verbosity=0)
    assert "trigger" not in {kind for kind, _, _ in schema()}
    call_command("migrate", verbosity=0)

    assert schema() == before
    assert rows("SELECT balance_pence FROM organizations") == [(100,)]


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
