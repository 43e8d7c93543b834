"""add_credits, adjust_balance and claw_back: money in, corrections, money taken back."""

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
    claw_back,
    commit,
    reserve,
    resume,
    set_debt_limit,
    suspend,
    top_up,
)
from wallets import ledger
from wallets.models import CreditTransaction, Organization

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


def is_suspended(organization):
    return Organization.objects.get(pk=organization.pk).is_suspended


@pytest.mark.parametrize("credit_type", ["topup", "refund", "bonus"])
def test_given_a_credit_when_added_then_the_balance_rises_by_an_entry(organization, credit_type):
    result = top_up(organization, 250, credit_type=credit_type)

    assert (result.amount_pence, result.owed_change_pence) == (250, 0)
    assert (result.balance_before_pence, result.balance_after_pence) == (1000, 1250)
    assert not result.duplicate
    assert entries(organization)[-1] == (credit_type, 250, 0)
    assert wallet_figures(organization) == WalletFigures(1250, 0, 0)
    assert_ledger_intact()


def test_given_a_member_of_staff_when_credited_and_adjusted_then_the_entry_says_who_and_why(
    organization,
):
    user = UserFactory()
    credit = top_up(organization, 250, description="Goodwill", created_by_id=user.pk)
    adjustment = adjust(organization, -50, reason="Typed twice", created_by_id=user.pk)

    for result, why in ((credit, "Goodwill"), (adjustment, "Typed twice")):
        entry = CreditTransaction.objects.get(pk=result.transaction_id)
        assert (entry.description, entry.created_by_id) == (why, user.pk)


def test_given_a_debt_when_credited_then_the_balance_rises_from_below_0():
    organization = OrganizationFactory()
    set_debt_limit(organization, 100)
    commit("call-1", 61, organization_id=organization.pk)
    result = top_up(organization, 500)
    assert (result.balance_before_pence, result.balance_after_pence) == (-98, 402)


def test_given_an_adjustment_up_when_made_then_credited(organization):
    result = adjust(organization, 30)
    assert result.balance_after_pence == 1030
    assert entries(organization)[-1] == ("adjustment", 30, 0)


def test_given_an_adjustment_down_when_made_then_debited(organization):
    result = adjust(organization, -1000)
    assert (result.amount_pence, result.balance_after_pence) == (1000, 0)
    assert entries(organization)[-1] == ("adjustment", -1000, 0)


@pytest.mark.parametrize("debt_limit_pence", [0, 5000])
def test_given_a_hold_when_adjusted_below_what_is_available_then_refused_with_both_figures(
    organization, debt_limit_pence
):
    set_debt_limit(organization, debt_limit_pence)
    reserve(organization)

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        adjust(organization, -756)

    assert refusal.value.required_pence == 756
    assert refusal.value.effective_balance_pence == 755
    assert "756p needed, 755p available" in str(refusal.value)
    assert adjust(organization, -755).balance_after_pence == 245
    assert_ledger_intact()


@pytest.mark.parametrize("make", [top_up, adjust, claw_back])
def test_given_the_same_key_and_details_when_repeated_then_the_first_result(organization, make):
    first = make(organization, 300, idempotency_key="one")
    top_up(organization, 50)

    with nothing_changes():
        again = make(organization, 300, idempotency_key="one")

    assert again.duplicate
    assert {**vars(again), "duplicate": False} == vars(first)


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (top_up, {"pence": 301}),
        (top_up, {"credit_type": "bonus"}),
        (top_up, {"description": "Something else"}),
        (adjust, {"pence": 301}),
        (adjust, {"pence": -300}),
        (adjust, {"reason": "Something else"}),
        (claw_back, {"pence": 301}),
        (claw_back, {"description": "Something else"}),
    ],
)
def test_given_the_same_key_when_asked_for_other_details_then_a_conflict(organization, make, other):
    make(organization, 300, idempotency_key="one")
    with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
        make(organization, **{"pence": 300, "idempotency_key": "one"} | other)


def test_given_enough_when_clawed_back_then_taken_and_suspended(organization):
    result = claw_back(organization, 400)

    assert (result.amount_pence, result.owed_change_pence) == (400, 0)
    assert wallet_figures(organization) == WalletFigures(600, 0, 0)
    assert is_suspended(organization)
    assert entries(organization)[-1] == ("clawback", -400, 0)
    assert_ledger_intact()


def test_given_live_calls_when_clawed_back_then_their_holds_stay_and_the_rest_is_owed(organization):
    reserve(organization, minutes=5)

    result = claw_back(organization, 1000)

    assert (result.amount_pence, result.owed_change_pence) == (755, 245)
    assert wallet_figures(organization) == WalletFigures(245, 245, 245)
    assert commit("call-1", 300).uncollected_pence == 0
    assert wallet_figures(organization) == WalletFigures(0, 0, 245)
    assert_ledger_intact()


def test_given_a_debt_limit_when_clawed_back_then_what_calls_can_spend_is_taken(organization):
    set_debt_limit(organization, 100)
    result = claw_back(organization, 1500)
    assert (result.amount_pence, result.owed_change_pence) == (1100, 400)
    assert wallet_figures(organization) == WalletFigures(-100, 0, 400)
    assert_ledger_intact()


def test_given_nothing_when_clawed_back_then_all_of_it_is_owed():
    organization = OrganizationFactory()
    result = claw_back(organization, 500)
    assert (result.amount_pence, result.owed_change_pence) == (0, 500)
    assert entries(organization) == [("clawback", 0, 500)]
    assert is_suspended(organization)
    assert_ledger_intact()


def test_given_staff_resumed_when_the_claw_back_is_repeated_then_it_does_not_suspend_again(
    organization,
):
    claw_back(organization, 1500, idempotency_key="dispute")
    resume(organization)
    with nothing_changes():
        assert claw_back(organization, 1500, idempotency_key="dispute").duplicate
    assert not is_suspended(organization)


@pytest.mark.parametrize("make", [top_up, adjust, claw_back])
def test_given_suspension_when_made_then_it_works(organization, make):
    suspend(organization)
    assert not make(organization, 10).duplicate
    assert is_suspended(organization)


def test_given_a_key_of_one_operation_when_another_uses_it_then_they_do_not_meet(organization):
    for make in (top_up, adjust, claw_back):
        assert not make(organization, 10, idempotency_key="same").duplicate
    assert_ledger_intact()
