"""cleanup_expired_reservations: what nobody settled is given back, once, and no live call's."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    hold_status,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import commit, extend, release, reserve, suspend
from wallets import ledger
from wallets.ledger import expiry
from wallets.models import CreditReservation

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL = timedelta(minutes=30)


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def test_given_a_hold_past_its_expiry_when_swept_then_given_back(organization, clock):
    reserve(organization)
    clock.shift(TTL + timedelta(microseconds=1))

    assert ledger.cleanup_expired_reservations() == 1

    hold = CreditReservation.objects.get()
    assert (hold.status, hold.committed_pence, hold.released_pence) == ("expired", 0, 245)
    assert hold.released_at == NOON + TTL + timedelta(microseconds=1)
    assert (hold.settled_at, hold.committed_at) == (None, None)
    assert wallet_figures(organization) == WalletFigures(1000, 0, 0)
    assert_ledger_intact()


def test_given_a_hold_at_its_expiry_when_swept_then_kept(organization, clock):
    reserve(organization)
    clock.shift(TTL)
    with nothing_changes():
        assert ledger.cleanup_expired_reservations() == 0


def test_given_nothing_to_do_when_swept_then_0(organization):
    with nothing_changes():
        assert ledger.cleanup_expired_reservations() == 0


def test_given_an_expired_hold_when_swept_again_then_nothing_changes(organization, clock):
    reserve(organization)
    clock.shift(TTL * 2)
    ledger.cleanup_expired_reservations()
    with nothing_changes():
        assert ledger.cleanup_expired_reservations() == 0


def test_given_a_renewed_hold_when_swept_then_kept_until_its_new_expiry(organization, clock):
    reserve(organization)
    clock.shift(TTL)
    extend("call-1", 60)
    clock.shift(TTL)
    assert ledger.cleanup_expired_reservations() == 0
    clock.shift(timedelta(seconds=1))
    assert ledger.cleanup_expired_reservations() == 1


def test_given_holds_in_every_state_when_swept_then_only_the_overdue_one_is_touched(clock):
    organization = OrganizationFactory(funded_pence=5000)
    for call_id in ("committed", "released", "overdue"):
        reserve(organization, call_id)
    commit("committed", 61)
    release("released")
    clock.shift(TTL + timedelta(seconds=1))
    reserve(organization, "young")

    assert ledger.cleanup_expired_reservations() == 1

    assert {c: hold_status(c) for c in ("committed", "released", "overdue", "young")} == {
        "committed": "committed",
        "released": "released",
        "overdue": "expired",
        "young": "active",
    }
    assert wallet_figures(organization) == WalletFigures(4902, 245, 0)
    assert_ledger_intact()


def test_given_suspension_when_swept_then_the_hold_is_given_back(organization, clock):
    reserve(organization)
    suspend(organization)
    clock.shift(TTL * 2)
    assert ledger.cleanup_expired_reservations() == 1
    assert wallet_figures(organization).reserved_pence == 0


def test_given_several_organizations_when_swept_then_each_gets_its_own_back(clock):
    organizations = [OrganizationFactory(funded_pence=1000 * n) for n in (1, 2, 3)]
    for number, organization in enumerate(organizations, start=1):
        for call in range(number):
            reserve(organization, f"call-{number}-{call}")
    clock.shift(TTL * 2)

    assert ledger.cleanup_expired_reservations() == 6

    assert [wallet_figures(one) for one in organizations] == [
        WalletFigures(1000, 0, 0),
        WalletFigures(2000, 0, 0),
        WalletFigures(3000, 0, 0),
    ]
    assert_ledger_intact()


def test_given_more_than_a_batch_when_swept_then_all_batches_are(monkeypatch, clock):
    monkeypatch.setattr(expiry, "EXPIRE_BATCH_SIZE", 3)
    organization = OrganizationFactory(funded_pence=5000)
    for number in range(8):  # at one moment, so that the key must tell them apart
        reserve(organization, f"call-{number}", minutes=1)
    clock.shift(TTL * 2)

    assert ledger.cleanup_expired_reservations() == 8
    assert wallet_figures(organization) == WalletFigures(5000, 0, 0)


def test_given_more_than_a_sweep_when_swept_then_it_is_bounded_and_the_next_goes_on(
    monkeypatch, clock
):
    monkeypatch.setattr(expiry, "EXPIRE_BATCH_SIZE", 2)
    monkeypatch.setattr(expiry, "EXPIRE_BATCHES_PER_SWEEP", 2)
    organization = OrganizationFactory(funded_pence=5000)
    for number in range(5):
        reserve(organization, f"call-{number}", minutes=1)
        clock.shift(timedelta(seconds=1))
    clock.shift(TTL * 2)

    assert ledger.cleanup_expired_reservations() == 4
    assert hold_status("call-4") == "active"  # the oldest go first
    assert_ledger_intact()
    assert ledger.cleanup_expired_reservations() == 1


def test_given_one_or_many_holds_when_swept_then_as_many_statements(organization, clock):
    counts = []
    for holds in (1, 8):
        for number in range(holds):
            reserve(organization, f"call-{holds}-{number}", minutes=1)
        clock.shift(TTL * 2)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert ledger.cleanup_expired_reservations() == holds
        counts.append(len(captured))
    assert counts[0] == counts[1]
