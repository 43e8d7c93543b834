"""check_balance_and_deduct_asset_cost: in full or not at all, and never from money that is held.

The five cases that users know by name are test_success, test_insufficient_balance,
test_duplicate_idempotency_key, test_database_error and test_unknown_organization.
"""

import pytest
from django.db import OperationalError, connection

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    entries,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import buy, reserve, set_debt_limit, suspend, top_up
from wallets import ledger
from wallets.models import CreditTransaction

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


def test_success(organization):
    """Just enough money: the asset is bought, and the wallet is empty."""
    result = buy(organization, 1000)

    assert (result.balance_before_pence, result.balance_after_pence) == (1000, 0)
    assert not result.duplicate
    assert wallet_figures(organization) == WalletFigures(0, 0, 0)
    assert entries(organization)[-1] == ("phone_provisioning", -1000, 0)
    assert CreditTransaction.objects.filter(pk=result.transaction_id).exists()
    assert_ledger_intact()


def test_insufficient_balance(organization):
    """A penny too little: refused, with the figures."""
    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        buy(organization, 1001)

    assert refusal.value.balance_pence == 1000
    assert refusal.value.reserved_pence == 0
    assert refusal.value.effective_balance_pence == 1000
    assert refusal.value.required_pence == 1001
    assert refusal.value.shortfall_pence == 1
    assert "1001p needed, 1000p available" in str(refusal.value)


def test_given_a_live_call_when_bought_then_its_hold_is_not_available(organization):
    reserve(organization, minutes=5)  # 245 p

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        buy(organization, 756)
    assert refusal.value.effective_balance_pence == 755
    assert refusal.value.shortfall_pence == 1

    buy(organization, 755)
    assert wallet_figures(organization) == WalletFigures(245, 245, 0)
    assert_ledger_intact()


def test_given_a_debt_limit_when_bought_then_assets_may_not_use_it(organization):
    set_debt_limit(organization, 5000)

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        buy(organization, 1001)
    assert refusal.value.shortfall_pence == 1


def test_given_a_call_on_debt_when_bought_then_the_debt_is_part_of_the_shortfall(organization):
    set_debt_limit(organization, 490)
    reserve(organization, minutes=25)  # 1225 p: 225 of it on the debt limit

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        buy(organization, 1)
    assert refusal.value.effective_balance_pence == -225
    assert refusal.value.shortfall_pence == 226


def test_given_suspension_when_bought_then_refused_although_there_is_money(organization):
    suspend(organization)

    with pytest.raises(ledger.OrganizationSuspended, match="suspended"), nothing_changes():
        buy(organization, 1)


def test_duplicate_idempotency_key(organization):
    """The same key and details again: the first result."""
    first = buy(organization, 600, idempotency_key="one")

    with nothing_changes():
        again = buy(organization, 600, idempotency_key="one")

    assert again.duplicate
    assert again.transaction_id == first.transaction_id
    assert again.balance_before_pence == first.balance_before_pence == 1000
    assert again.balance_after_pence == first.balance_after_pence == 400


def test_given_a_purchase_when_replayed_later_then_the_first_figures_and_not_todays(organization):
    buy(organization, 600, idempotency_key="one")
    top_up(organization, 5000)
    suspend(organization)

    with nothing_changes():
        again = buy(organization, 600, idempotency_key="one")

    assert (again.balance_before_pence, again.balance_after_pence) == (1000, 400)


@pytest.mark.parametrize(
    "other",
    [
        {"cost_pence": 601},
        {"cost_pence": 5000},
        {"asset_type": "license"},
        {"description": "Another number"},
    ],
)
def test_given_the_same_key_when_asked_for_other_details_then_a_conflict(organization, other):
    buy(organization, 600, idempotency_key="one")

    with pytest.raises(ledger.IdempotencyConflict, match="use a new key"), nothing_changes():
        buy(organization, **{"pence": 600, "idempotency_key": "one"} | other)


def test_given_a_refusal_when_there_is_money_then_the_key_still_works(organization):
    with pytest.raises(ledger.InsufficientBalance):
        buy(organization, 2000, idempotency_key="one")
    top_up(organization, 1000)

    result = buy(organization, 2000, idempotency_key="one")

    assert not result.duplicate
    assert wallet_figures(organization).balance_pence == 0


def test_given_two_organizations_when_they_use_the_same_key_then_each_buys(organization):
    other = OrganizationFactory(funded_pence=1000)
    first = buy(organization, 600, idempotency_key="one")
    second = buy(other, 700, idempotency_key="one")

    assert not second.duplicate
    assert second.transaction_id != first.transaction_id
    assert_ledger_intact()


@pytest.mark.parametrize("asset_type", sorted(CreditTransaction.ASSET_TYPES))
def test_every_type_of_asset_is_an_entry_of_that_type(organization, asset_type):
    buy(organization, 10, asset_type=asset_type)
    assert entries(organization)[-1] == (asset_type, -10, 0)


@pytest.mark.parametrize(
    "fails_at", ['INSERT INTO "credit_transactions"', 'UPDATE "organizations"']
)
def test_database_error(organization, fails_at):
    """The error comes up, nothing is half written, and the key still works."""

    def failing(execute, sql, *rest):
        if sql.startswith(fails_at):
            raise OperationalError("the connection was lost")
        return execute(sql, *rest)

    with (
        nothing_changes(),
        pytest.raises(OperationalError, match="was lost"),
        connection.execute_wrapper(failing),
    ):
        buy(organization, 600, idempotency_key="one")

    assert not buy(organization, 600, idempotency_key="one").duplicate
    assert_ledger_intact()


def test_unknown_organization(organization):
    stranger = OrganizationFactory.build()
    with pytest.raises(ledger.OrganizationNotFound, match=str(stranger.pk)), nothing_changes():
        buy(stranger, 1)
