"""set_debt_limit, suspend_organization and resume_organization."""

import pytest

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import (
    buy,
    commit,
    extend,
    reserve,
    resume,
    set_debt_limit,
    suspend,
    top_up,
)
from wallets import ledger
from wallets.models import Organization

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=100)


def debt_limit(organization):
    return Organization.objects.get(pk=organization.pk).debt_limit_pence


def test_given_no_debt_when_the_limit_is_set_then_any_limit_may_be(organization):
    for pence in (500, 0, 10**12):
        set_debt_limit(organization, pence)
        assert debt_limit(organization) == pence
    assert wallet_figures(organization) == WalletFigures(100, 0, 0)
    assert_ledger_intact()


def test_given_a_hold_on_debt_when_the_limit_is_lowered_below_it_then_refused_with_both_figures(
    organization,
):
    set_debt_limit(organization, 500)
    reserve(organization)  # 245 p: 145 p of it on the limit

    with pytest.raises(ledger.DebtLimitInUse) as refusal, nothing_changes():
        set_debt_limit(organization, 144)
    assert (refusal.value.debt_limit_pence, refusal.value.in_use_pence) == (144, 145)
    assert "144p" in str(refusal.value)
    assert "145p" in str(refusal.value)

    set_debt_limit(organization, 145)
    assert debt_limit(organization) == 145


def test_given_a_spent_debt_when_the_limit_is_lowered_below_it_then_refused_until_paid(
    organization,
):
    set_debt_limit(organization, 500)
    commit("call-1", 300, organization_id=organization.pk)
    with pytest.raises(ledger.DebtLimitInUse), nothing_changes():
        set_debt_limit(organization, 0)
    top_up(organization, 145)
    set_debt_limit(organization, 0)
    assert_ledger_intact()


def test_given_the_same_limit_when_set_again_then_nothing_changes(organization):
    set_debt_limit(organization, 500)
    with nothing_changes():
        set_debt_limit(organization, 500)


def test_given_suspension_when_resumed_then_calls_and_assets_work_again(organization):
    reserve(organization, "live", minutes=1)
    suspend(organization)
    for command in (
        lambda: reserve(organization, "new", minutes=1),
        lambda: extend("live", 90),
        lambda: buy(organization, 1),
    ):
        with pytest.raises(ledger.OrganizationSuspended), nothing_changes():
            command()

    resume(organization)

    reserve(organization, "new", minutes=1)
    assert wallet_figures(organization) == WalletFigures(100, 98, 0)
    assert_ledger_intact()


@pytest.mark.parametrize("command", [suspend, resume])
def test_given_a_standing_when_asked_for_again_then_nothing_changes(organization, command):
    command(organization)
    with nothing_changes():
        command(organization)


def test_given_one_suspended_organization_then_the_others_are_not(organization):
    other = OrganizationFactory(funded_pence=100)
    suspend(organization)
    assert not reserve(other).duplicate
