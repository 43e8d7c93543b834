"""correct_settlement: Vapi's duration replaces another one, by one entry for the difference."""

import pytest

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    check_deferred_constraints,
    entries,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import (
    adjust,
    commit,
    correct,
    expire_all_holds,
    recover,
    release,
    reserve,
    suspend,
    top_up,
    write_off,
)
from wallets import ledger
from wallets.models import Organization
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


@pytest.fixture(autouse=True)
def it_adds_up():
    yield
    check_deferred_constraints()
    assert_ledger_intact()
    assert ledger_differences() == []


def settled(organization, seconds):
    reserve(organization)
    commit("call-1", seconds)


def totals(organization):
    organization.refresh_from_db()
    return organization.total_spent_pence, organization.total_calls


@pytest.mark.parametrize(
    ("settled_seconds", "vapi_seconds", "entry", "spent", "calls"),
    [
        (60, 600, ("adjustment", -441, 0), 490, 1),
        (600, 60, ("adjustment", 441, 0), 49, 1),
        (0, 61, ("adjustment", -98, 0), 98, 1),
        (61, 0, ("adjustment", 98, 0), 0, 0),
    ],
)
def test_given_another_duration_when_corrected_then_one_entry_makes_the_difference(
    organization, settled_seconds, vapi_seconds, entry, spent, calls
):
    settled(organization, settled_seconds)

    result = correct(organization, "call-1", vapi_seconds)

    assert entries(organization)[-1] == entry
    assert wallet_figures(organization) == WalletFigures(1000 - spent, 0, 0)
    assert (result.charged_pence, result.uncollected_pence) == (spent, 0)
    assert (result.settled_seconds, result.corrected_seconds) == (settled_seconds, vapi_seconds)
    assert not result.duplicate
    assert totals(organization) == (spent, calls)


@pytest.mark.parametrize(("settled_seconds", "vapi_seconds"), [(60, 60), (1, 60), (60, 59), (0, 0)])
def test_given_the_same_price_when_corrected_then_there_is_no_entry(
    organization, settled_seconds, vapi_seconds
):
    settled(organization, settled_seconds)
    before = entries(organization)

    result = correct(organization, "call-1", vapi_seconds)

    assert entries(organization) == before
    assert (result.transaction_id, result.corrected_seconds) == (None, vapi_seconds)


@pytest.mark.parametrize("again", [600, 60, 0, 6000])
@pytest.mark.parametrize("first", [600, 30])
def test_given_a_correction_when_asked_again_then_the_first_result(organization, first, again):
    settled(organization, 60)
    result = correct(organization, "call-1", first)
    top_up(organization, 5)

    with nothing_changes():
        repeated = correct(organization, "call-1", again)

    assert repeated.duplicate
    assert vars(repeated) | {"duplicate": False} == vars(result)


def test_given_too_little_when_it_lasted_longer_then_the_rest_is_owed_and_holds_are_kept():
    organization = OrganizationFactory(funded_pence=300)
    settled(organization, 60)
    reserve(organization, "other call", minutes=4)  # 196 p of 251 p

    result = correct(organization, "call-1", 600)

    assert entries(organization)[-1] == ("adjustment", -55, 386)
    assert (result.charged_pence, result.uncollected_pence) == (104, 386)
    assert wallet_figures(organization) == WalletFigures(196, 196, 386)


def test_given_a_call_partly_owed_when_it_was_shorter_then_what_is_owed_falls_first():
    organization = OrganizationFactory(funded_pence=100)
    commit("call-1", 300, organization_id=organization.pk)  # 245 p: 145 owed

    result = correct(organization, "call-1", 61)  # 98 p

    assert entries(organization)[-1] == ("adjustment", 2, -145)
    assert (result.charged_pence, result.uncollected_pence, result.unclear_pence) == (98, 0, 0)
    assert wallet_figures(organization) == WalletFigures(2, 0, 0)


def test_given_a_call_all_owed_when_it_was_shorter_then_no_money_moves():
    organization = OrganizationFactory()
    commit("call-1", 300, organization_id=organization.pk)

    correct(organization, "call-1", 61)

    assert entries(organization)[-1] == ("adjustment", 0, -147)
    assert wallet_figures(organization) == WalletFigures(0, 0, 98)


@pytest.mark.parametrize("settle_debt", [recover, write_off])
def test_given_what_was_owed_is_owed_no_more_when_it_was_shorter_then_it_is_said(settle_debt):
    organization = OrganizationFactory(funded_pence=100, recovers_owed_from_topups=False)
    commit("call-1", 300, organization_id=organization.pk)  # 100 p taken, 145 owed
    top_up(organization, 145)
    settle_debt(organization, 145)
    before = wallet_figures(organization).balance_pence

    result = correct(organization, "call-1", 1)  # 196 p less

    # What it took beyond its price comes back; the rest is for staff to decide.
    assert entries(organization)[-1] == ("adjustment", 51, 0)
    assert result.unclear_pence == 145
    assert (result.charged_pence, result.uncollected_pence) == (49, 145)
    assert wallet_figures(organization) == WalletFigures(before + 51, 0, 0)


@pytest.mark.parametrize("settle_debt", [recover, write_off])
def test_given_another_calls_debt_when_it_was_shorter_then_that_is_not_lowered(settle_debt):
    organization = OrganizationFactory(recovers_owed_from_topups=False)
    commit("call-1", 300, organization_id=organization.pk)  # 245 p owed
    top_up(organization, 245)
    settle_debt(organization, 245)
    commit("other call", 6000, organization_id=organization.pk)
    owed = wallet_figures(organization).owed_pence

    result = correct(organization, "call-1", 0)

    assert (result.transaction_id, result.unclear_pence) == (None, 245)
    assert wallet_figures(organization).owed_pence == owed


def test_given_a_call_all_written_off_when_it_was_shorter_then_there_is_nothing_to_give_back():
    organization = OrganizationFactory()
    commit("call-1", 61, organization_id=organization.pk)
    write_off(organization, 98)
    before = entries(organization)

    result = correct(organization, "call-1", 0)

    assert entries(organization) == before
    assert (result.charged_pence, result.unclear_pence) == (0, 98)
    assert totals(organization) == (0, 0)


def test_given_a_change_of_tariff_when_corrected_then_the_calls_own_tariff_counts(organization):
    settled(organization, 60)
    Organization.objects.filter(pk=organization.pk).update(rate_pence_per_minute=1)

    correct(organization, "call-1", 120)

    assert entries(organization)[-1] == ("adjustment", -49, 0)


@pytest.mark.parametrize("close", [lambda: release("call-1"), expire_all_holds])
def test_given_a_hold_that_was_gone_when_settled_then_it_is_corrected_the_same_way(
    organization, close
):
    reserve(organization)
    close()
    commit("call-1", 60)

    correct(organization, "call-1", 120)

    assert wallet_figures(organization) == WalletFigures(902, 0, 0)


def test_given_suspension_when_corrected_then_it_works(organization):
    settled(organization, 60)
    suspend(organization)

    correct(organization, "call-1", 120)

    assert wallet_figures(organization) == WalletFigures(902, 0, 0)


def test_given_a_corrected_call_when_committed_again_then_the_first_settlement(organization):
    settled(organization, 60)
    correct(organization, "call-1", 600)

    with nothing_changes():
        again = commit("call-1", 600)

    assert (again.duplicate, again.duration_seconds, again.actual_cost_pence) == (True, 60, 49)


def test_given_adjustments_by_hand_when_corrected_then_they_do_not_count_as_one(organization):
    settled(organization, 60)
    adjust(organization, -10)
    adjust(organization, 10)

    correct(organization, "call-1", 120)

    assert entries(organization)[-1] == ("adjustment", -49, 0)


def test_given_a_call_that_is_not_settled_when_corrected_then_refused(organization):
    reserve(organization)
    with pytest.raises(ledger.CallNotSettled, match="not settled yet"), nothing_changes():
        correct(organization, "call-1", 60)


def test_given_no_reservation_when_corrected_then_not_found(organization):
    with pytest.raises(ledger.ReservationNotFound), nothing_changes():
        correct(organization, "call-1", 60)


def test_given_a_call_of_another_organization_when_corrected_then_refused(organization):
    settled(organization, 60)
    other = OrganizationFactory(funded_pence=1000)
    with pytest.raises(ledger.IdempotencyConflict, match="cannot be used here"), nothing_changes():
        correct(other, "call-1", 600)
