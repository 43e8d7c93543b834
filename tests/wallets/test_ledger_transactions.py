"""Commands inside a transaction of their caller: all of it happens, or none of it."""

import pytest
from django.db import transaction

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import buy, commit, reserve, top_up
from wallets import ledger

pytestmark = pytest.mark.django_db(transaction=True)


class CallerFailedError(Exception):
    pass


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


def test_given_several_commands_when_their_caller_fails_then_none_of_them_happened(organization):
    def fail_after_all_of_it():
        with transaction.atomic():
            reserve(organization)
            commit("call-1", 61)
            buy(organization, 100)
            raise CallerFailedError

    with nothing_changes(), pytest.raises(CallerFailedError):
        fail_after_all_of_it()


def test_given_a_refusal_when_its_caller_goes_on_then_the_rest_happens(organization):
    """A business refusal is an outcome: it does not break the transaction that it came up in."""
    with transaction.atomic():
        with pytest.raises(ledger.InsufficientBalance):
            buy(organization, 1001)
        with pytest.raises(ledger.OrganizationNotFound):
            ledger.suspend_organization(organization_id="nobody")
        with pytest.raises(ledger.ReservationNotFound):
            commit("unknown", 61)
        top_up(organization, 1)
        buy(organization, 1001)

    assert wallet_figures(organization) == WalletFigures(0, 0, 0)
    assert_ledger_intact()


def test_given_two_entries_in_one_transaction_when_committed_then_postgresql_accepts(organization):
    with transaction.atomic():
        for _ in range(3):
            top_up(organization, 1)
        reserve(organization)
        commit("call-1", 600)
    assert wallet_figures(organization) == WalletFigures(513, 0, 0)
    assert_ledger_intact()
