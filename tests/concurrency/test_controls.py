"""The same races with the lock taken away: the expectations must fail, so that they can.

Every command reads, waits until all others have read, and then writes. Two kinds of control: with
all that PostgreSQL refuses in place, the outcomes are wrong and the money still adds up; and
without any of that, the money itself is lost.
"""

import pytest
from django.db import IntegrityError

from tests.concurrency.expectations import (
    assert_charged_once_whatever_came_of_the_hold,
    assert_each_expired_once,
    assert_extended_before_or_after_the_commit,
    assert_held_or_clawed_back,
    assert_one_organization_has_the_call,
    assert_one_reservation,
    assert_one_spends,
    assert_settled_once,
)
from tests.concurrency.harness import run_together, run_together_without_locks
from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    charges,
    entries,
    rows,
    wallet_figures,
)
from tests.wallets.steps import buy, claw_back, commit, extend, make_overdue, reserve
from wallets import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def organization(request):
    if "without_safeguards" in request.fixturenames:
        request.getfixturevalue("without_safeguards")
    return OrganizationFactory(funded_pence=1000)


def refused_by_postgresql(outcomes):
    return [outcome for outcome in outcomes if isinstance(outcome.error, IntegrityError)]


# --- the lock is gone, PostgreSQL's own refusals are there ---


def test_without_the_lock_two_purchases_collide_and_postgresql_stops_the_second(organization):
    outcomes = run_together_without_locks([lambda: buy(organization, 1000)] * 2)

    with pytest.raises(AssertionError, match="1 failed"):
        assert_one_spends(outcomes)
    assert len(refused_by_postgresql(outcomes)) == 1
    assert wallet_figures(organization) == WalletFigures(0, 0, 0)
    assert_ledger_intact()


def test_without_the_lock_two_calls_want_the_same_money_and_postgresql_stops_the_second():
    organization = OrganizationFactory(funded_pence=245)

    outcomes = run_together_without_locks(
        [lambda: reserve(organization, "call-1"), lambda: reserve(organization, "call-2")]
    )

    with pytest.raises(AssertionError, match="1 failed"):
        assert_one_spends(outcomes)
    assert len(refused_by_postgresql(outcomes)) == 1
    assert wallet_figures(organization) == WalletFigures(245, 245, 0)
    assert_ledger_intact()


def test_without_the_lock_two_settlements_collide_and_postgresql_stops_the_second(organization):
    reserve(organization)

    outcomes = run_together_without_locks(
        [lambda: commit("call-1", 61, organization_id=organization.pk)] * 2
    )

    with pytest.raises(AssertionError, match="closes once"):
        assert_settled_once(outcomes, organization, 98)
    assert len(refused_by_postgresql(outcomes)) == 1
    assert charges(organization) == [(98, 0)]
    assert_ledger_intact()


def test_without_the_lock_settlement_and_sweep_collide_and_postgresql_stops_the_second(
    organization,
):
    reserve(organization)
    make_overdue("call-1")

    outcomes = run_together_without_locks(
        [
            lambda: commit("call-1", 61, organization_id=organization.pk),
            ledger.cleanup_expired_reservations,
        ]
    )

    with pytest.raises(AssertionError, match="1 failed"):
        assert_charged_once_whatever_came_of_the_hold(outcomes, organization, "call-1", 98)
    assert len(refused_by_postgresql(outcomes)) == 1
    assert_ledger_intact()


def test_without_the_lock_settlement_and_extension_collide(organization):
    """PostgreSQL refuses the extension, or the extended hold is not the one that is settled."""
    reserve(organization, minutes=1)

    outcomes = run_together_without_locks(
        [
            lambda: commit("call-1", 300, organization_id=organization.pk),
            lambda: extend("call-1", 600),
        ]
    )

    with pytest.raises(AssertionError):
        assert_extended_before_or_after_the_commit(outcomes, organization)


def test_without_the_lock_a_call_and_a_claw_back_take_the_same_money():
    organization = OrganizationFactory(funded_pence=245)

    outcomes = run_together_without_locks(
        [lambda: reserve(organization), lambda: claw_back(organization, 245)]
    )

    with pytest.raises(AssertionError):
        assert_held_or_clawed_back(outcomes, organization)


def test_without_the_lock_two_sweeps_collide_and_postgresql_stops_the_second(organization):
    reserve(organization)
    make_overdue("call-1")

    outcomes = run_together_without_locks([ledger.cleanup_expired_reservations] * 2)

    with pytest.raises(AssertionError, match="closes once"):
        assert_each_expired_once(outcomes, 1)
    assert_ledger_intact()


def test_without_the_lock_the_unique_index_alone_keeps_one_reservation_of_a_call(organization):
    """One call of one wallet is kept apart twice, so here the lock may go; not so the index."""
    outcomes = run_together_without_locks([lambda: reserve(organization)] * 5)
    assert_one_reservation(outcomes, "call-1")


# --- the lock and PostgreSQL's own refusals are gone ---


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_the_money_of_one_is_spent_twice(organization):
    outcomes = run_together_without_locks([lambda: buy(organization, 1000)] * 2)

    with pytest.raises(AssertionError, match="2 spent the money of one"):
        assert_one_spends(outcomes)
    assert [amount for _, amount, _ in entries(organization)] == [1000, -1000, -1000]
    with pytest.raises(AssertionError, match="balance = sum of entries"):
        assert_ledger_intact()


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_two_calls_hold_the_same_money():
    organization = OrganizationFactory(funded_pence=245)

    outcomes = run_together_without_locks(
        [lambda: reserve(organization, "call-1"), lambda: reserve(organization, "call-2")]
    )

    with pytest.raises(AssertionError, match="2 spent the money of one"):
        assert_one_spends(outcomes)
    with pytest.raises(AssertionError, match="reserved = sum of active holds"):
        assert_ledger_intact()


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_a_call_is_charged_twice(organization):
    reserve(organization)

    outcomes = run_together_without_locks(
        [lambda: commit("call-1", 61, organization_id=organization.pk)] * 2
    )

    with pytest.raises(AssertionError):
        assert_settled_once(outcomes, organization, 98)
    assert charges(organization) == [(98, 0), (98, 0)]


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_a_call_is_reserved_many_times(organization):
    outcomes = run_together_without_locks([lambda: reserve(organization)] * 5)

    with pytest.raises(AssertionError, match="5 reservations of one call"):
        assert_one_reservation(outcomes, "call-1")


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_a_hold_is_both_committed_and_expired(organization):
    reserve(organization)
    make_overdue("call-1")

    outcomes = run_together_without_locks(
        [
            lambda: commit("call-1", 61, organization_id=organization.pk),
            ledger.cleanup_expired_reservations,
        ]
    )

    assert [outcome.succeeded for outcome in outcomes] == [True, True]
    assert outcomes[0].result.reserved_pence == 245  # the commit had the hold
    assert outcomes[1].result == 1  # and so had the sweep
    with pytest.raises(AssertionError):
        assert_charged_once_whatever_came_of_the_hold(outcomes, organization, "call-1", 98)


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_a_hold_expires_twice(organization):
    reserve(organization)
    make_overdue("call-1")

    outcomes = run_together_without_locks([ledger.cleanup_expired_reservations] * 2)

    assert [outcome.result for outcome in outcomes] == [1, 1]
    with pytest.raises(AssertionError):
        assert_each_expired_once(outcomes, 1)


@pytest.mark.usefixtures("without_safeguards")
def test_without_lock_and_safeguards_two_organizations_have_one_call(organization):
    other = OrganizationFactory(funded_pence=1000)

    outcomes = run_together_without_locks([lambda: reserve(organization), lambda: reserve(other)])

    with pytest.raises(AssertionError):
        assert_one_organization_has_the_call(outcomes, "call-1")


@pytest.mark.usefixtures("without_safeguards")
def test_with_the_lock_alone_one_wallet_needs_no_safeguards(organization):
    """The other way round: with the lock, the constraints have nothing to catch."""
    assert_one_reservation(run_together([lambda: reserve(organization)] * 20), "call-1")
    settled = run_together([lambda: commit("call-1", 61)] * 20)
    assert_settled_once(settled, organization, 98)
    assert_one_spends(run_together([lambda: buy(organization, 902)] * 20))


def test_the_safeguards_are_back_after_a_control(organization):
    assert rows("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'") == [(0,)]
    with pytest.raises(IntegrityError, match="its last entry says"):
        type(organization).objects.filter(pk=organization.pk).update(balance_pence=1)
