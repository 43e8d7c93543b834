"""Commands over two organizations: taken in the order of their keys, they do not deadlock."""

import re

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.concurrency.expectations import assert_no_surprises
from tests.concurrency.harness import Rendezvous, run_together, seeded_interleaving
from tests.factories import OrganizationFactory
from tests.wallets.invariants import assert_ledger_intact, wallet_figures
from tests.wallets.steps import adjust, commit, make_overdue, reserve
from wallets import ledger
from wallets.locks import lock_organization

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = range(15)


@pytest.fixture
def organizations():
    made = [OrganizationFactory(funded_pence=100_000) for _ in range(2)]
    return sorted(made, key=lambda organization: organization.pk)


def move(payer, payee, pence):
    """A transfer between two wallets, in one transaction, locked in the documented order."""
    with transaction.atomic():
        for organization in sorted((payer, payee), key=lambda organization: organization.pk):
            lock_organization(organization.pk)
        adjust(payer, -pence)
        adjust(payee, pence)


def test_transfers_both_ways_sweeps_and_settlements_do_not_deadlock(organizations):
    one, other = organizations
    for seed in SEEDS:
        for number, organization in enumerate((one, other)):
            for call in range(2):
                call_id = f"call-{seed}-{number}-{call}"
                reserve(organization, call_id, minutes=1)
                make_overdue(call_id)

        with seeded_interleaving(seed):
            outcomes = run_together(
                [
                    lambda: move(one, other, 10),
                    lambda: move(other, one, 30),
                    ledger.cleanup_expired_reservations,
                    ledger.cleanup_expired_reservations,
                    lambda seed=seed: commit(f"call-{seed}-0-0", 60),
                    lambda seed=seed: commit(f"call-{seed}-1-1", 60),
                ]
            )

        assert_no_surprises(outcomes)
        assert_ledger_intact()
    total = sum(wallet_figures(organization).balance_pence for organization in organizations)
    assert total == 200_000 - len(SEEDS) * 2 * 49


def test_a_sweep_locks_by_key_and_waits_for_nobody(organizations):
    for number, organization in enumerate(organizations):
        reserve(organization, f"call-{number}")
        make_overdue(f"call-{number}")
    with CaptureQueriesContext(connection) as captured:
        assert ledger.cleanup_expired_reservations() == 2
    [lock] = [query["sql"] for query in captured if "FOR NO KEY UPDATE" in query["sql"]]
    assert re.search(r'ORDER BY "organizations"\."id" ASC FOR NO KEY UPDATE SKIP LOCKED$', lock)


def test_a_sweep_leaves_a_busy_organization_for_the_next_one(organizations):
    for number, organization in enumerate(organizations):
        reserve(organization, f"call-{number}")
        make_overdue(f"call-{number}")
    with transaction.atomic():
        lock_organization(organizations[0].pk)
        [outcome] = run_together([ledger.cleanup_expired_reservations])
        assert outcome.result == 1
    assert wallet_figures(organizations[0]).reserved_pence == 245
    assert wallet_figures(organizations[1]).reserved_pence == 0
    assert ledger.cleanup_expired_reservations() == 1
    assert_ledger_intact()


def test_control_locked_against_the_order_two_transactions_deadlock(organizations):
    both_have_one = Rendezvous(2)

    def lock_both(first, second):
        with transaction.atomic():
            lock_organization(first.pk)
            both_have_one.wait()
            lock_organization(second.pk)

    outcomes = run_together(
        [lambda: lock_both(*organizations), lambda: lock_both(*reversed(organizations))]
    )

    with pytest.raises(AssertionError):
        assert_no_surprises(outcomes)
    [error] = [outcome.error for outcome in outcomes if not outcome.succeeded]
    assert isinstance(error, OperationalError)
    assert "deadlock detected" in str(error)


def test_raising_many_holds_leaves_a_busy_organization_for_the_next_time(organizations):
    for number, organization in enumerate(organizations):
        reserve(organization, f"call-{number}", minutes=1)

    def extend_both():
        return ledger.extend_reservations(
            extensions=[
                ledger.Extension(call_id=f"call-{number}", cover_seconds=61) for number in range(2)
            ]
        )

    with transaction.atomic():
        lock_organization(organizations[0].pk)
        [outcome] = run_together([extend_both])
        assert set(outcome.result) == {"call-1"}
    assert [wallet_figures(one).reserved_pence for one in organizations] == [49, 98]
    assert set(extend_both()) == {"call-0", "call-1"}
    assert [wallet_figures(one).reserved_pence for one in organizations] == [98, 98]
    assert_ledger_intact()


def test_holds_raised_by_two_sweeps_and_settled_meanwhile_are_raised_once(organizations):
    one, _ = organizations
    for seed in SEEDS:
        names = [f"call-{seed}-{number}" for number in range(4)]
        for name in names:
            reserve(one, name, minutes=1)
        wanted = [ledger.Extension(call_id=name, cover_seconds=61) for name in names]

        with seeded_interleaving(seed):
            outcomes = run_together(
                [
                    lambda wanted=wanted: ledger.extend_reservations(extensions=wanted),
                    lambda wanted=wanted: ledger.extend_reservations(extensions=wanted),
                    lambda names=names: commit(names[0], 60),
                    lambda names=names: reserve(one, f"{names[0]} more", minutes=1),
                ]
            )

        assert_no_surprises(outcomes)
        ledger.extend_reservations(extensions=wanted)
        assert_ledger_intact()
        assert wallet_figures(one).reserved_pence == 3 * 98 + 49
        for name in (*names, f"{names[0]} more"):
            commit(name, 60)
