"""Pairs of commands that meet over one wallet or one call, in many seeded interleavings.

Whoever comes first, the call is charged once, no money appears or disappears, and every balance
and hold sum is what entries and holds say.
"""

import random
from functools import partial

import pytest
from django.db import transaction

from tests.concurrency.expectations import (
    assert_charged_once_whatever_came_of_the_hold,
    assert_each_expired_once,
    assert_extended_before_or_after_the_commit,
    assert_held_or_clawed_back,
    assert_no_surprises,
    assert_one_organization_has_the_call,
    assert_one_reservation,
    assert_one_spends,
    assert_settled_once,
)
from tests.concurrency.harness import run_together, seeded_interleaving
from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    charges,
    hold_status,
    wallet_figures,
)
from tests.wallets.steps import (
    adjust,
    buy,
    claw_back,
    commit,
    extend,
    make_overdue,
    release,
    reserve,
    resume,
    top_up,
)
from wallets import ledger

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = range(25)


def race(seed, *commands):
    with seeded_interleaving(seed):
        return run_together(commands)


def test_commit_racing_the_sweep():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        reserve(organization, call_id)
        make_overdue(call_id)

        outcomes = race(seed, partial(commit, call_id, 61), ledger.cleanup_expired_reservations)

        assert_charged_once_whatever_came_of_the_hold(outcomes, organization, call_id, 98)
        assert wallet_figures(organization) == WalletFigures(902, 0, 0)


@pytest.mark.parametrize("held", [True, False])
def test_commit_racing_commit(held):
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        if held:
            reserve(organization, call_id)

        outcomes = race(seed, *[partial(commit, call_id, 61, organization_id=organization.pk)] * 3)

        assert_settled_once(outcomes, organization, 98)
        assert wallet_figures(organization) == WalletFigures(902, 0, 0)


def test_commits_of_different_durations_racing():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        reserve(organization, call_id)

        outcomes = race(
            seed,
            partial(commit, call_id, 0),
            partial(commit, call_id, 61),
            partial(commit, call_id, 600),
        )

        assert_no_surprises(outcomes)
        [first] = [outcome.result for outcome in outcomes if not outcome.result.duplicate]
        assert {o.result.duration_seconds for o in outcomes} == {first.duration_seconds}
        cost = {0: 0, 61: 98, 600: 490}[first.duration_seconds]
        assert wallet_figures(organization) == WalletFigures(1000 - cost, 0, 0)
        assert_ledger_intact()


def test_reserve_racing_a_claw_back():
    for seed in SEEDS:
        organization = OrganizationFactory(funded_pence=245)
        outcomes = race(
            seed,
            partial(reserve, organization, f"call-{seed}"),
            partial(claw_back, organization, 245),
        )
        assert_held_or_clawed_back(outcomes, organization)


def test_reserve_racing_a_purchase():
    for seed in SEEDS:
        organization = OrganizationFactory(funded_pence=245)
        outcomes = race(
            seed, partial(reserve, organization, f"call-{seed}"), partial(buy, organization, 245)
        )
        assert_one_spends(outcomes)


def test_reserve_racing_reserve_of_one_call():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        outcomes = race(seed, *[partial(reserve, organization, call_id)] * 3)
        assert_one_reservation(outcomes, call_id)


def charge_61_seconds(organization, call_id):
    return commit(call_id, 61, organization_id=organization.pk)


def in_a_transaction(command, *arguments):
    """As a webhook's processing does, which goes on after a refusal."""
    with transaction.atomic():
        try:
            return command(*arguments)
        except ledger.IdempotencyConflict:
            return "refused"


def test_two_organizations_racing_for_one_call_inside_transactions_of_their_callers():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organizations = [OrganizationFactory(funded_pence=1000) for _ in range(2)]

        outcomes = race(
            seed, *[partial(in_a_transaction, reserve, one, call_id) for one in organizations]
        )

        assert_no_surprises(outcomes)
        assert [outcome.result for outcome in outcomes].count("refused") == 1
        held = sorted(wallet_figures(organization).reserved_pence for organization in organizations)
        assert held == [0, 245]
        assert_ledger_intact()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (reserve, reserve),
        (reserve, charge_61_seconds),
        (
            charge_61_seconds,
            lambda one, call_id: commit(call_id, 0, organization_id=one.pk),
        ),
        (
            lambda one, call_id: reserve(one, f"ours-{call_id}", vapi_call_id=call_id),
            lambda one, call_id: reserve(one, f"theirs-{call_id}", vapi_call_id=call_id),
        ),
        (
            lambda one, call_id: reserve(one, call_id, vapi_call_id=f"ours-{call_id}"),
            lambda one, call_id: reserve(one, f"theirs-{call_id}", vapi_call_id=call_id),
        ),
    ],
    ids=[
        "reserve and reserve",
        "reserve and charge",
        "charge and charge",
        "one id of Vapi's",
        "our id is their id of Vapi's",
    ],
)
def test_two_organizations_racing_for_one_call(ours, theirs):
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organizations = [OrganizationFactory(funded_pence=1000) for _ in range(2)]

        outcomes = race(
            seed,
            partial(ours, organizations[0], call_id),
            partial(theirs, organizations[1], call_id),
        )

        assert_no_surprises(outcomes, (ledger.IdempotencyConflict,))
        assert sum(outcome.succeeded for outcome in outcomes) == 1
        if ours is reserve:
            assert_one_organization_has_the_call(outcomes, call_id)
        loser = organizations[0 if outcomes[1].succeeded else 1]
        assert wallet_figures(loser) == WalletFigures(1000, 0, 0)
        assert_ledger_intact()


def test_extend_racing_commit():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        reserve(organization, call_id, minutes=1)

        outcomes = race(seed, partial(commit, call_id, 300), partial(extend, call_id, 600))

        assert_extended_before_or_after_the_commit(outcomes, organization)


def test_extend_racing_the_sweep():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        reserve(organization, call_id, minutes=1)
        make_overdue(call_id)

        outcomes = race(seed, partial(extend, call_id, 600), ledger.cleanup_expired_reservations)

        assert_no_surprises(outcomes)
        extension, expired = (outcome.result for outcome in outcomes)
        assert extension.active == (expired == 0)
        assert hold_status(call_id) == ("active" if extension.active else "expired")
        assert wallet_figures(organization).reserved_pence == (490 if extension.active else 0)
        assert_ledger_intact()


def test_release_racing_commit_and_the_sweep():
    for seed in SEEDS:
        call_id = f"call-{seed}"
        organization = OrganizationFactory(funded_pence=1000)
        reserve(organization, call_id)
        make_overdue(call_id)

        outcomes = race(
            seed,
            partial(release, call_id),
            partial(commit, call_id, 61),
            ledger.cleanup_expired_reservations,
        )

        assert_no_surprises(outcomes)
        assert charges(organization) == [(98, 0)]
        assert wallet_figures(organization) == WalletFigures(902, 0, 0)
        assert_ledger_intact()


def test_sweep_racing_sweep():
    for seed in SEEDS:
        organizations = [OrganizationFactory(funded_pence=1000) for _ in range(3)]
        for number in range(6):
            call_id = f"call-{seed}-{number}"
            reserve(organizations[number % 3], call_id, minutes=1)
            make_overdue(call_id)

        outcomes = race(seed, *[ledger.cleanup_expired_reservations] * 3)

        assert_each_expired_once(outcomes, 6)
        for organization in organizations:
            assert wallet_figures(organization) == WalletFigures(1000, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_once(seed):
    """Eight threads, each a seeded list of commands over two wallets and a few calls."""
    organizations = [OrganizationFactory(funded_pence=2000) for _ in range(2)]
    refusals = (
        ledger.InsufficientBalance,
        ledger.IdempotencyConflict,
        ledger.OrganizationSuspended,
        ledger.ReservationNotFound,
    )

    def play(number):
        choice = random.Random(f"{seed} {number}")
        for _ in range(25):
            one = choice.choice(organizations)
            call_id = f"call-{choice.randrange(12)}"
            seconds = choice.choice([0, 30, 61, 600])
            key = f"key-{choice.randrange(20)}"
            command = choice.choice(
                [
                    partial(reserve, one, call_id, choice.randint(1, 9)),
                    partial(commit, call_id, seconds),
                    partial(commit, call_id, seconds, organization_id=one.pk),
                    partial(extend, call_id, seconds),
                    partial(release, call_id),
                    partial(make_overdue, call_id),
                    ledger.cleanup_expired_reservations,
                    partial(buy, one, choice.randint(1, 300), idempotency_key=key),
                    partial(top_up, one, choice.randint(1, 300), idempotency_key=key),
                    partial(adjust, one, choice.choice([-50, 50]), idempotency_key=key),
                    partial(claw_back, one, choice.randint(1, 300), idempotency_key=key),
                    partial(resume, one),
                ]
            )
            try:
                command()
            except refusals:
                continue

    with seeded_interleaving(seed):
        outcomes = run_together([partial(play, number) for number in range(8)])

    assert_no_surprises(outcomes)
    assert_ledger_intact()
