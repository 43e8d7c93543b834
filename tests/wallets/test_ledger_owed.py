"""recover_owed and write_off_owed: how what is owed falls."""

import pytest

from tests.factories import OrganizationFactory, UserFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    entries,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import (
    adjust,
    commit,
    recover,
    reserve,
    set_debt_limit,
    suspend,
    top_up,
    write_off,
)
from wallets import ledger
from wallets.models import CreditTransaction

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    """It owes 98 p for a call, and has topped up 500 p since."""
    organization = OrganizationFactory(recovers_owed_from_topups=False)
    commit("old call", 61, organization_id=organization.pk)
    top_up(organization, 500)
    return organization


def test_given_money_when_recovered_then_both_balance_and_owed_fall(organization):
    result = recover(organization, 98)

    assert (result.amount_pence, result.owed_change_pence) == (98, -98)
    assert (result.balance_before_pence, result.balance_after_pence) == (500, 402)
    assert entries(organization)[-1] == ("recovery", -98, -98)
    assert wallet_figures(organization) == WalletFigures(402, 0, 0)
    assert_ledger_intact()


def test_given_something_owed_when_written_off_then_no_money_moves(organization):
    user = UserFactory()
    result = write_off(organization, 90, created_by_id=user.pk)

    assert (result.amount_pence, result.owed_change_pence) == (0, -90)
    assert result.balance_before_pence == result.balance_after_pence == 500
    assert entries(organization)[-1] == ("write_off", 0, -90)
    assert CreditTransaction.objects.get(pk=result.transaction_id).created_by_id == user.pk
    assert wallet_figures(organization) == WalletFigures(500, 0, 8)
    assert_ledger_intact()


@pytest.mark.parametrize("reduce", [recover, write_off])
def test_given_part_of_it_when_reduced_twice_then_the_rest_stays_owed(organization, reduce):
    reduce(organization, 40)
    reduce(organization, 58)
    assert wallet_figures(organization).owed_pence == 0
    assert_ledger_intact()


@pytest.mark.parametrize("reduce", [recover, write_off])
def test_given_more_than_is_owed_when_reduced_then_refused_with_both_figures(organization, reduce):
    with pytest.raises(ledger.MoreThanOwed) as refusal, nothing_changes():
        reduce(organization, 99)
    assert (refusal.value.asked_pence, refusal.value.owed_pence) == (99, 98)


def test_given_money_held_for_a_call_when_recovered_then_the_hold_is_not_available(organization):
    reserve(organization, minutes=9)  # 441 p of 500 p
    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        recover(organization, 60)
    assert refusal.value.effective_balance_pence == 59
    assert recover(organization, 59).balance_after_pence == 441
    assert_ledger_intact()


def test_given_a_debt_limit_when_recovered_then_debt_does_not_pay_debt():
    organization = OrganizationFactory()
    commit("old call", 61, organization_id=organization.pk)
    set_debt_limit(organization, 1000)
    with pytest.raises(ledger.InsufficientBalance), nothing_changes():
        recover(organization, 1)


def test_given_a_debt_in_use_when_written_off_then_it_works_because_no_money_moves():
    organization = OrganizationFactory()
    set_debt_limit(organization, 50)
    commit("old call", 61, organization_id=organization.pk)
    assert wallet_figures(organization) == WalletFigures(-50, 0, 48)

    write_off(organization, 48)

    assert wallet_figures(organization) == WalletFigures(-50, 0, 0)
    assert_ledger_intact()


@pytest.mark.parametrize("reduce", [recover, write_off])
def test_given_the_same_key_when_repeated_then_the_first_result(organization, reduce):
    first = reduce(organization, 98, idempotency_key="one")
    with nothing_changes():
        again = reduce(organization, 98, idempotency_key="one")
    assert again.duplicate
    assert {**vars(again), "duplicate": False} == vars(first)


@pytest.mark.parametrize("reduce", [recover, write_off])
def test_given_the_same_key_when_asked_for_other_details_then_a_conflict(organization, reduce):
    reduce(organization, 50, idempotency_key="one")
    why = "description" if reduce is recover else "reason"
    for other in ({"pence": 51}, {why: "Something else"}):
        with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
            reduce(organization, **{"pence": 50, "idempotency_key": "one"} | other)


@pytest.mark.parametrize("reduce", [recover, write_off])
def test_given_suspension_when_reduced_then_it_works(organization, reduce):
    suspend(organization)
    assert not reduce(organization, 98).duplicate


# --- From top-ups -----------------------------------------------------------------------------


def owing(pence=98, **fields):
    """An organization that owes this much for a call of as many seconds as pence."""
    organization = OrganizationFactory(
        rate_pence_per_minute=60, billing_increment_seconds=1, **fields
    )
    commit("old call", pence, organization_id=organization.pk)
    return organization


@pytest.mark.parametrize(
    ("topped_up", "balance", "owed"), [(500, 402, 0), (98, 0, 0), (97, 0, 1), (1, 0, 97)]
)
def test_given_something_owed_when_topped_up_then_it_is_paid_by_an_entry_of_its_own(
    topped_up, balance, owed
):
    organization = owing()

    result = top_up(organization, topped_up)

    assert (result.amount_pence, result.balance_after_pence) == (topped_up, topped_up)
    paid = 98 - owed
    assert entries(organization)[1:] == [("topup", topped_up, 0), ("recovery", -paid, -paid)]
    recovery = CreditTransaction.objects.get(type="recovery")
    assert recovery.idempotency_key == f"topup_recovery:{result.transaction_id}"
    assert wallet_figures(organization) == WalletFigures(balance, 0, owed)
    assert_ledger_intact()


def test_given_a_topup_when_repeated_then_what_is_owed_since_is_not_paid():
    organization = owing()
    top_up(organization, 98, idempotency_key="payment")
    commit("another call", 10, organization_id=organization.pk)
    adjust(organization, 50)
    with nothing_changes():
        assert top_up(organization, 98, idempotency_key="payment").duplicate
    assert wallet_figures(organization) == WalletFigures(50, 0, 10)


@pytest.mark.parametrize("kind", ["refund", "bonus"])
def test_given_another_credit_than_a_topup_when_made_then_nothing_is_recovered(kind):
    organization = owing()
    top_up(organization, 500, credit_type=kind)
    assert wallet_figures(organization) == WalletFigures(500, 0, 98)


def test_given_the_setting_off_when_topped_up_then_nothing_is_recovered():
    organization = owing(recovers_owed_from_topups=False)
    top_up(organization, 500)
    assert wallet_figures(organization) == WalletFigures(500, 0, 98)


def test_given_a_debt_in_use_when_topped_up_then_only_what_is_above_zero_pays():
    organization = owing()
    set_debt_limit(organization, 100)
    reserve(organization, "live", minutes=1)
    top_up(organization, 50)
    assert wallet_figures(organization) == WalletFigures(50, 60, 98)
    top_up(organization, 50)
    assert wallet_figures(organization) == WalletFigures(60, 60, 58)
    assert_ledger_intact()
