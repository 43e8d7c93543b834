"""extend_reservation and release_reservation: a live hold is raised, or given back."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    entries,
    hold_status,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import (
    commit,
    expire_all_holds,
    extend,
    release,
    reserve,
    set_debt_limit,
    suspend,
)
from wallets import ledger

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=500)


def test_given_a_hold_when_extended_then_it_covers_the_seconds(organization):
    first = reserve(organization, minutes=2)

    result = extend("call-1", 121)

    assert result.reservation_id == first.reservation_id
    assert result.reserved_pence == result.active_reservations_pence == 147
    assert result.effective_balance_pence == 353
    assert result.active
    assert not result.duplicate
    assert wallet_figures(organization) == WalletFigures(500, 147, 0)
    assert_ledger_intact()


@pytest.mark.parametrize("seconds", [0, 1, 60, 119, 120])
def test_given_a_hold_that_covers_the_seconds_when_extended_then_it_is_not_lowered(
    organization, seconds
):
    reserve(organization, minutes=2)
    result = extend("call-1", seconds)
    assert result.duplicate
    assert wallet_figures(organization).reserved_pence == 98


def test_given_an_extension_when_asked_again_in_the_same_moment_then_nothing_changes(organization):
    with time_machine.travel(NOON, tick=False):
        reserve(organization, minutes=1)
        extend("call-1", 300)
        with nothing_changes():
            again = extend("call-1", 300)
    assert again.duplicate
    assert again.reserved_pence == 245


def test_given_too_little_money_when_extended_then_as_far_as_the_wallet_allows(organization):
    reserve(organization, "other", minutes=5)  # 245 p, which stays theirs
    reserve(organization, "call-1", minutes=1)  # 49 p

    result = extend("call-1", 3600)

    assert result.reserved_pence == 245  # 255 p could be spent: five whole minutes
    assert wallet_figures(organization) == WalletFigures(500, 490, 0)
    assert extend("call-1", 3600).duplicate
    assert_ledger_intact()


def test_given_a_debt_limit_when_extended_then_the_call_may_use_it():
    organization = OrganizationFactory(funded_pence=49)
    reserve(organization)
    assert extend("call-1", 120).duplicate

    set_debt_limit(organization, 60)
    assert extend("call-1", 180).reserved_pence == 98
    assert wallet_figures(organization) == WalletFigures(49, 98, 0)
    assert_ledger_intact()


def test_given_suspension_when_extended_then_refused(organization):
    reserve(organization, minutes=1)
    suspend(organization)
    with pytest.raises(ledger.OrganizationSuspended), nothing_changes():
        extend("call-1", 300)


def test_given_time_passes_when_extended_then_expiry_is_renewed_also_if_no_money_is_added(
    organization,
):
    with time_machine.travel(NOON, tick=False) as clock:
        reserve(organization)
        clock.shift(timedelta(minutes=20))
        result = extend("call-1", 60)
        assert result.expires_at == NOON + timedelta(minutes=50)
        clock.shift(timedelta(minutes=29))
        assert ledger.cleanup_expired_reservations() == 0
        clock.shift(timedelta(minutes=2))
        assert ledger.cleanup_expired_reservations() == 1


@pytest.mark.parametrize(
    ("live_until_minutes", "expires_minutes"), [(None, 30), (-5, 30), (10, 30), (30, 30), (90, 90)]
)
def test_given_a_call_that_may_live_longer_when_extended_then_its_hold_does_too(
    organization, live_until_minutes, expires_minutes
):
    live_until = live_until_minutes and NOON + timedelta(minutes=live_until_minutes)
    with time_machine.travel(NOON, tick=False):
        reserve(organization)
        result = extend("call-1", 60, live_until=live_until)
    assert result.expires_at == NOON + timedelta(minutes=expires_minutes)


def test_given_a_long_expiry_when_extended_again_then_it_is_never_brought_forward(organization):
    with time_machine.travel(NOON, tick=False):
        reserve(organization)
        extend("call-1", 60, live_until=NOON + timedelta(hours=2))
        assert extend("call-1", 60).expires_at == NOON + timedelta(hours=2)


@pytest.mark.parametrize(
    "close",
    [lambda: commit("call-1", 30), lambda: release("call-1"), expire_all_holds],
    ids=["committed", "released", "expired"],
)
@pytest.mark.parametrize("suspended", [False, True])
def test_given_a_closed_hold_when_extended_then_it_is_returned_as_it_is(
    organization, close, suspended
):
    reserve(organization)
    close()
    if suspended:
        suspend(organization)
    with nothing_changes():
        result = extend("call-1", 3600)
    assert result.duplicate
    assert not result.active


def test_given_no_hold_when_extended_or_released_then_not_found(organization):
    for command in (lambda: extend("unknown", 60), lambda: release("unknown")):
        with pytest.raises(ledger.ReservationNotFound, match="unknown"), nothing_changes():
            command()


def test_given_vapis_id_when_extended_and_released_then_the_same_hold(organization):
    first = reserve(organization, "ours", minutes=1, vapi_call_id="vapis")
    assert extend("vapis", 120).reservation_id == first.reservation_id
    assert release("vapis").reservation_id == first.reservation_id


def test_given_a_hold_when_released_then_all_of_it_is_given_back_and_nothing_is_charged(
    organization,
):
    first = reserve(organization, minutes=1)
    extend("call-1", 180)

    result = release("call-1")

    assert (result.reservation_id, result.released_pence) == (first.reservation_id, 147)
    assert not result.duplicate
    assert hold_status("call-1") == "released"
    assert wallet_figures(organization) == WalletFigures(500, 0, 0)
    assert entries(organization) == [("topup", 500, 0)]
    assert_ledger_intact()


def test_given_a_released_hold_when_released_again_then_nothing_changes(organization):
    reserve(organization)
    release("call-1")
    with nothing_changes():
        again = release("call-1")
    assert again.duplicate
    assert again.released_pence == 245


def test_given_a_committed_hold_when_released_then_it_stays_committed(organization):
    reserve(organization)
    commit("call-1", 61)
    with nothing_changes():
        result = release("call-1")
    assert result.duplicate
    assert result.released_pence == 147


def test_given_an_expired_hold_when_released_then_it_stays_expired(organization):
    reserve(organization)
    expire_all_holds()
    with nothing_changes():
        assert release("call-1").duplicate
    assert hold_status("call-1") == "expired"


def test_given_suspension_when_released_then_it_works(organization):
    reserve(organization)
    suspend(organization)
    assert release("call-1").released_pence == 245
