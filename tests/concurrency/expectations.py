"""What must come of commands that ran at the same time. Each raises AssertionError if it did not.

The controls hold the same expectations against a ledger without its lock, and they must fail.
"""

from collections.abc import Sequence

from tests.concurrency.harness import Outcome
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    charges,
    hold_status,
    rows,
    wallet_figures,
)
from wallets import ledger


def assert_no_surprises(
    outcomes: Sequence[Outcome], refusals: tuple[type[Exception], ...] = ()
) -> None:
    """Nothing failed, but for refusals that the ledger may well give here."""
    surprises = [
        outcome.error
        for outcome in outcomes
        if outcome.error is not None and not isinstance(outcome.error, refusals)
    ]
    assert not surprises, f"{len(surprises)} failed, first: {surprises[0]!r}"


def assert_one_spends(outcomes: Sequence[Outcome]) -> None:
    """The wallet had money for one: one has it, all others were told that there is too little."""
    assert_no_surprises(outcomes, (ledger.InsufficientBalance,))
    succeeded = [outcome for outcome in outcomes if outcome.succeeded]
    assert len(succeeded) == 1, f"{len(succeeded)} spent the money of one"
    assert not succeeded[0].result.duplicate
    assert_ledger_intact()


def assert_one_reservation(outcomes: Sequence[Outcome], call_id: str) -> None:
    """One reserved; everybody else got the same reservation back, as a duplicate."""
    assert_no_surprises(outcomes)
    found = rows("SELECT id FROM credit_reservations WHERE call_id = %s", (call_id,))
    assert len(found) == 1, f"{len(found)} reservations of one call"
    assert {outcome.result.reservation_id for outcome in outcomes} == {found[0][0]}
    assert sum(not outcome.result.duplicate for outcome in outcomes) == 1
    assert_ledger_intact()


def assert_settled_once(outcomes: Sequence[Outcome], organization, cost_pence: int) -> None:
    """All who settled the call got one and the same settlement, and it was charged once."""
    assert_no_surprises(outcomes)
    results = [outcome.result for outcome in outcomes]
    assert sum(not result.duplicate for result in results) == 1
    assert len({result.transaction_id for result in results}) == 1
    assert charges(organization) == [(cost_pence, 0)]
    assert_ledger_intact()


def assert_charged_once_whatever_came_of_the_hold(
    outcomes: Sequence[Outcome], organization, call_id: str, cost_pence: int
) -> None:
    """The first outcome is the commit, the second the sweep: either came first."""
    assert_no_surprises(outcomes)
    settlement, expired = (outcome.result for outcome in outcomes)
    assert charges(organization) == [(cost_pence, 0)]
    assert hold_status(call_id) == ("expired" if expired else "committed")
    assert (settlement.reserved_pence == 0) == bool(expired)
    assert wallet_figures(organization).reserved_pence == 0
    assert_ledger_intact()


def assert_held_or_clawed_back(outcomes: Sequence[Outcome], organization) -> None:
    """A call and a claw-back wanted the same 245 p: the call holds it, or the claw-back took it."""
    assert_no_surprises(outcomes, (ledger.OrganizationSuspended,))
    reserved, clawed_back = outcomes
    assert clawed_back.succeeded
    figures = wallet_figures(organization)
    if reserved.succeeded:
        assert figures == WalletFigures(245, 245, 245)
    else:
        assert figures == WalletFigures(0, 0, 0)
    assert_ledger_intact()


def assert_one_organization_has_the_call(outcomes: Sequence[Outcome], call_id: str) -> None:
    """Of two organizations one has the call; the other was refused, and has nothing of it."""
    assert_no_surprises(outcomes, (ledger.IdempotencyConflict,))
    assert sum(outcome.succeeded for outcome in outcomes) == 1
    assert rows("SELECT count(*) FROM credit_reservations WHERE call_id = %s", (call_id,)) == [(1,)]
    assert_ledger_intact()


def assert_each_expired_once(outcomes: Sequence[Outcome], holds: int) -> None:
    """Whoever swept it, every hold was given back, and counted, once."""
    assert_no_surprises(outcomes)
    assert sum(outcome.result for outcome in outcomes) == holds
    assert_ledger_intact()


def assert_extended_before_or_after_the_commit(outcomes: Sequence[Outcome], organization) -> None:
    """A call of 245 p held 49 p and was extended to 490 p: it was settled from one or the other."""
    assert_no_surprises(outcomes)
    settlement, extension = (outcome.result for outcome in outcomes)
    assert settlement.reserved_pence == (490 if extension.active else 49)
    assert charges(organization) == [(245, 0)]
    assert wallet_figures(organization) == WalletFigures(755, 0, 0)
    assert_ledger_intact()
