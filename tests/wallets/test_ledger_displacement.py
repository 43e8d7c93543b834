"""give_up_call_id: an id that is another call's is freed, and nobody's money is lost."""

import pytest

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    check_deferred_constraints,
    nothing_changes,
    rows,
    wallet_figures,
)
from tests.wallets.steps import commit, expire_all_holds, give_up, release, reserve
from wallets import ledger
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


@pytest.fixture
def other():
    return OrganizationFactory(funded_pence=1000)


@pytest.fixture(autouse=True)
def it_adds_up():
    yield
    check_deferred_constraints()
    assert_ledger_intact()
    assert ledger_differences() == []


def ids(reservation_id):
    [found] = rows(
        "SELECT call_id, vapi_call_id, status FROM credit_reservations WHERE id = %s",
        (reservation_id,),
    )
    return found


@pytest.mark.parametrize(
    ("claim", "freed"),
    [
        ({"call_id": "X"}, ["X"]),
        ({"call_id": "X", "vapi_call_id": "X"}, ["X"]),
        ({"call_id": "A", "vapi_call_id": "X"}, ["X", "A"]),
    ],
)
def test_given_a_claim_when_given_up_then_its_hold_is_given_back_and_others_may_have_the_id(
    organization, other, claim, freed
):
    first = reserve(organization, **claim)

    result = give_up(organization, "X")

    name = f"displaced:{first.reservation_id}"
    assert (result.call_id, result.released_pence, result.settled_seconds) == (name, 245, None)
    assert ids(first.reservation_id) == (name, None, "released")
    assert wallet_figures(organization) == WalletFigures(1000, 0, 0)
    for call_id in freed:
        assert not reserve(other, call_id, minutes=1).duplicate


def test_given_a_claim_that_names_another_call_of_vapis_when_given_up_then_it_keeps_that_one(
    organization, other
):
    first = reserve(organization, "X", vapi_call_id="Y")

    assert give_up(organization, "X").released_pence == 0

    name = f"displaced:{first.reservation_id}"
    assert ids(first.reservation_id) == (name, "Y", "active")
    assert reserve(organization, name, vapi_call_id="Y").duplicate
    assert commit("Y", 60).reserved_pence == 245
    assert not reserve(other, "X").duplicate


def test_given_both_ids_given_up_one_after_the_other_then_neither_is_left(organization):
    first = reserve(organization, "X", vapi_call_id="Y")
    give_up(organization, "X")

    assert give_up(organization, "Y").released_pence == 245

    assert ids(first.reservation_id)[1:] == (None, "released")


def test_given_a_settled_claim_when_given_up_then_what_was_charged_stays_charged(organization):
    reserve(organization, "X")
    commit("X", 61)

    result = give_up(organization, "X")

    assert (result.settled_seconds, result.released_pence) == (61, 0)
    assert wallet_figures(organization) == WalletFigures(902, 0, 0)
    with pytest.raises(ledger.ReservationNotFound):
        commit("X", 61)


@pytest.mark.parametrize("close", [lambda: release("X"), expire_all_holds])
def test_given_a_hold_that_has_closed_when_given_up_then_no_money_moves(organization, close):
    reserve(organization, "X")
    close()

    assert give_up(organization, "X").released_pence == 0

    assert wallet_figures(organization) == WalletFigures(1000, 0, 0)


def test_given_no_reservation_when_given_up_then_not_found(organization):
    with pytest.raises(ledger.ReservationNotFound), nothing_changes():
        give_up(organization, "X")


def test_given_a_call_of_another_organization_when_given_up_then_refused(organization, other):
    reserve(organization, "X")
    with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
        give_up(other, "X")
