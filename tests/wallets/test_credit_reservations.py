"""The six cases of credit reservations that users know by these names."""

import pytest

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    charges,
    entries,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import commit, reserve, top_up
from wallets import ledger
from wallets.models import CreditReservation, CreditTransaction

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


def test_success(organization):
    """The price of the estimate is held, and no money moves."""
    result = reserve(organization, minutes=5)

    assert result.reserved_pence == 245
    assert result.balance_pence == 1000
    assert result.effective_balance_pence == 755
    assert result.active_reservations_pence == 245
    assert result.active
    assert not result.duplicate
    assert wallet_figures(organization) == WalletFigures(1000, 245, 0)
    assert entries(organization) == [("topup", 1000, 0)]  # a hold is not an entry
    assert_ledger_intact()


def test_rejected_at_zero_effective_balance():
    """All that there is is held for another call."""
    organization = OrganizationFactory(funded_pence=980)
    reserve(organization, "other call", minutes=20)

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        reserve(organization)

    assert (refusal.value.balance_pence, refusal.value.effective_balance_pence) == (980, 0)
    assert refusal.value.required_pence == 49


def test_duplicate(organization):
    """The first hold, and nothing changes."""
    first = reserve(organization, minutes=5)

    with nothing_changes():
        again = reserve(organization, minutes=9)

    assert again.duplicate
    assert again.active
    assert again.reservation_id == first.reservation_id
    assert again.reserved_pence == 245


def test_commit_with_release(organization):
    """A call below its hold: the rest is released."""
    first = reserve(organization, minutes=5)

    result = commit("call-1", 61)

    assert result.reservation_id == first.reservation_id
    assert result.reserved_pence == 245
    assert result.actual_cost_pence == 98
    assert result.released_pence == 147
    assert result.uncollected_pence == 0
    assert (result.balance_before_pence, result.balance_after_pence) == (1000, 902)
    assert result.duration_seconds == 61
    assert not result.duplicate
    assert wallet_figures(organization) == WalletFigures(902, 0, 0)
    entry = CreditTransaction.objects.get(pk=result.transaction_id)
    assert (entry.type, entry.amount_pence) == ("call_deduction", 98)
    assert entry.reservation_id == first.reservation_id
    assert_ledger_intact()


def test_fallback_to_direct_billing(organization):
    """Without a reservation the call is charged at once."""
    result = commit("call-1", 61, organization_id=organization.pk)

    assert (result.reserved_pence, result.actual_cost_pence, result.released_pence) == (0, 98, 0)
    hold = CreditReservation.objects.get(call_id="call-1")
    assert (hold.status, hold.reserved_pence, hold.committed_pence) == ("committed", 0, 98)
    assert wallet_figures(organization) == WalletFigures(902, 0, 0)
    assert_ledger_intact()


def test_idempotent_commit(organization):
    """By either id, and however often: one charge, and the first result each time."""
    reserve(organization, vapi_call_id="vapis")
    first = commit("call-1", 61)
    top_up(organization, 777)

    with nothing_changes():
        again = [commit(call_id, 61) for call_id in ("call-1", "vapis", "call-1")]

    assert all(result.duplicate for result in again)
    assert [{**vars(result), "duplicate": False} for result in again] == [vars(first)] * 3
    assert charges(organization) == [(98, 0)]
