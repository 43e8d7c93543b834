"""commit_reserved_credits: a call is charged once, in full or owed, whatever arrives and when."""

import pytest

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    charges,
    entries,
    hold_status,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import (
    adjust,
    buy,
    commit,
    expire_all_holds,
    extend,
    release,
    reserve,
    set_debt_limit,
    suspend,
    top_up,
)
from wallets import ledger
from wallets.models import CreditReservation

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


def hold_of(call_id):
    return CreditReservation.objects.get(call_id=call_id)


# The states that a report may find a call in: each makes one, and says what the wallet then holds.
STATES = {
    "held": lambda organization: reserve(organization),
    "never reserved": lambda organization: None,
    "expired": lambda organization: (reserve(organization), expire_all_holds()),
    "released": lambda organization: (reserve(organization), release("call-1")),
}


@pytest.fixture(params=STATES)
def call_in_each_state(request, organization):
    STATES[request.param](organization)
    return request.param


def test_given_a_hold_when_committed_then_the_row_says_what_became_of_it(organization):
    reserve(organization, minutes=5)
    commit("call-1", 61)

    hold = hold_of("call-1")
    assert (hold.status, hold.reserved_pence) == ("committed", 245)
    assert (hold.committed_pence, hold.released_pence) == (98, 147)
    assert hold.settled_seconds == 61
    assert hold.settled_at == hold.committed_at


def test_given_a_hold_when_committed_at_exactly_its_cover_then_nothing_is_released(organization):
    reserve(organization, minutes=5)
    result = commit("call-1", 300)
    assert (result.actual_cost_pence, result.released_pence) == (245, 0)


def test_given_a_call_above_its_hold_when_committed_then_the_spendable_rest_pays(organization):
    reserve(organization, minutes=5)

    result = commit("call-1", 600)

    assert (result.reserved_pence, result.actual_cost_pence) == (245, 490)
    assert (result.released_pence, result.uncollected_pence) == (0, 0)
    assert wallet_figures(organization) == WalletFigures(510, 0, 0)
    assert hold_of("call-1").committed_pence == 490
    assert_ledger_intact()


def test_given_other_calls_holds_when_committed_above_the_wallet_then_they_are_never_touched(
    organization,
):
    reserve(organization, "other", minutes=10)  # 490 p
    reserve(organization, "call-1", minutes=5)  # 245 p; 265 p are free

    result = commit("call-1", 3600)  # 2940 p

    assert result.actual_cost_pence == 2940
    assert result.uncollected_pence == 2940 - 245 - 265
    assert result.balance_after_pence == 490
    assert wallet_figures(organization) == WalletFigures(490, 490, 2430)
    assert charges(organization) == [(510, 2430)]
    assert commit("other", 600).uncollected_pence == 0
    assert wallet_figures(organization) == WalletFigures(0, 0, 2430)
    assert_ledger_intact()


def test_given_an_empty_wallet_when_committed_then_all_is_owed_on_an_entry_of_nothing(organization):
    buy(organization, 1000)

    result = commit("call-1", 61, organization_id=organization.pk)

    assert (result.actual_cost_pence, result.uncollected_pence) == (98, 98)
    assert result.transaction_id is not None
    assert entries(organization)[-1] == ("call_deduction", 0, 98)
    assert wallet_figures(organization) == WalletFigures(0, 0, 98)
    assert_ledger_intact()


def test_given_a_debt_limit_when_committed_above_the_hold_then_the_limit_pays_before_it_is_owed():
    organization = OrganizationFactory(funded_pence=49)
    set_debt_limit(organization, 100)
    reserve(organization, minutes=1)

    result = commit("call-1", 300)  # 245 p: 49 held, 100 on the limit

    assert result.uncollected_pence == 96
    assert wallet_figures(organization) == WalletFigures(-100, 0, 96)
    assert_ledger_intact()


def test_given_suspension_when_committed_then_it_works(organization, call_in_each_state):
    suspend(organization)
    result = commit("call-1", 61, organization_id=organization.pk)
    assert result.actual_cost_pence == 98
    assert wallet_figures(organization) == WalletFigures(902, 0, 0)


@pytest.mark.parametrize("state", ["expired", "released"])
def test_given_a_hold_that_is_gone_when_committed_then_the_same_charge_is_made_directly(
    organization, state
):
    STATES[state](organization)

    result = commit("call-1", 61)

    assert (result.reserved_pence, result.released_pence) == (0, 0)
    assert (result.actual_cost_pence, result.uncollected_pence) == (98, 0)
    hold = hold_of("call-1")
    assert hold.status == state  # a closed hold stays as it was closed
    assert (hold.committed_pence, hold.released_pence) == (0, 245)
    assert (hold.settled_seconds, hold.committed_at) == (61, None)
    assert wallet_figures(organization) == WalletFigures(902, 0, 0)
    assert_ledger_intact()


def test_given_a_hold_that_is_gone_and_its_money_spent_when_committed_then_it_is_owed(organization):
    STATES["expired"](organization)
    buy(organization, 950)
    result = commit("call-1", 61)
    assert (result.balance_after_pence, result.uncollected_pence) == (0, 48)
    assert_ledger_intact()


def test_given_no_reservation_when_committed_for_nobody_then_not_found():
    with pytest.raises(ledger.ReservationNotFound, match="call-1"), nothing_changes():
        commit("call-1", 61)


def test_given_a_settled_call_when_committed_again_then_the_first_result(
    organization, call_in_each_state
):
    first = commit("call-1", 61, organization_id=organization.pk)
    top_up(organization, 777)

    with nothing_changes():
        again = commit("call-1", 61, organization_id=organization.pk)

    assert again.duplicate
    assert {**vars(again), "duplicate": False} == vars(first)


@pytest.mark.parametrize("other_seconds", [0, 1, 60, 3600])
def test_given_a_settled_call_when_another_duration_arrives_then_nothing_changes(
    organization, call_in_each_state, other_seconds
):
    first = commit("call-1", 61, organization_id=organization.pk)

    with nothing_changes():
        again = commit("call-1", other_seconds)

    assert again.duplicate
    assert again.transaction_id == first.transaction_id
    assert (again.actual_cost_pence, again.duration_seconds) == (98, 61)


def test_given_a_call_partly_owed_when_committed_again_then_the_first_figures():
    organization = OrganizationFactory(funded_pence=100)
    reserve(organization)
    first = commit("call-1", 300)
    assert first.uncollected_pence == 145

    again = commit("call-1", 300)

    assert {**vars(again), "duplicate": False} == vars(first)


def test_given_any_state_when_settled_at_0_then_no_entry_and_the_hold_is_given_back(
    organization, call_in_each_state
):
    result = commit("call-1", 0, organization_id=organization.pk)

    assert result.transaction_id is None
    assert (result.actual_cost_pence, result.uncollected_pence) == (0, 0)
    assert result.released_pence == (245 if call_in_each_state == "held" else 0)
    assert (result.balance_before_pence, result.balance_after_pence) == (1000, 1000)
    assert entries(organization) == [("topup", 1000, 0)]
    assert wallet_figures(organization) == WalletFigures(1000, 0, 0)
    gone = call_in_each_state in ("expired", "released")
    assert hold_status("call-1") == (call_in_each_state if gone else "committed")
    assert_ledger_intact()


@pytest.mark.parametrize("other_seconds", [0, 1, 600])
def test_given_a_call_settled_at_0_when_another_duration_arrives_then_nothing_changes(
    organization, call_in_each_state, other_seconds
):
    first = commit("call-1", 0, organization_id=organization.pk)

    with nothing_changes():
        again = commit("call-1", other_seconds, organization_id=organization.pk)

    assert again.duplicate
    assert {**vars(again), "duplicate": False} == vars(first)


def test_given_a_settled_call_when_swept_extended_and_released_then_nothing_changes(
    organization, call_in_each_state
):
    commit("call-1", 61, organization_id=organization.pk)
    with nothing_changes():
        assert expire_all_holds() == 0
        assert extend("call-1", 600).duplicate
        assert release("call-1").duplicate


def test_given_vapis_id_when_committed_then_the_call_is_found_and_settled_once(organization):
    first = reserve(organization, "ours", vapi_call_id="vapis")
    result = commit("vapis", 61)
    assert result.reservation_id == first.reservation_id
    with nothing_changes():
        assert commit("ours", 61).duplicate


@pytest.mark.parametrize("call_id", ["theirs", "theirs-vapi"])
@pytest.mark.parametrize("settled", [False, True])
def test_given_a_call_of_another_organization_when_committed_then_refused_and_nothing_revealed(
    organization, call_id, settled
):
    other = OrganizationFactory(name="Secret Ltd", funded_pence=1234)
    theirs = reserve(other, "theirs", vapi_call_id="theirs-vapi")
    if settled:
        commit("theirs", 61)

    with pytest.raises(ledger.IdempotencyConflict) as refusal, nothing_changes():
        commit(call_id, 61, organization_id=organization.pk)

    # The same sentence whatever the state of the call is: it tells nothing.
    assert str(refusal.value) == (
        "This call id cannot be used here; use the id of a call of your own."
    )
    for secret in (other.pk, theirs.reservation_id, "Secret", "245", "1234"):
        assert str(secret) not in str(refusal.value)


def test_given_an_adjustment_between_when_committed_then_decided_from_the_wallet_as_it_is(
    organization,
):
    reserve(organization, minutes=5)
    adjust(organization, -755)
    result = commit("call-1", 600)
    assert result.uncollected_pence == 245
    assert wallet_figures(organization) == WalletFigures(0, 0, 245)
    assert_ledger_intact()


def test_given_the_longest_duration_when_committed_then_it_is_charged(organization):
    result = commit("call-1", 7 * 24 * 3600, organization_id=organization.pk)
    assert result.actual_cost_pence == 7 * 24 * 60 * 49
    assert wallet_figures(organization) == WalletFigures(0, 0, 7 * 24 * 60 * 49 - 1000)
