"""What a storm is made of."""

from collections import Counter

import pytest

from voxbilling.operations.storm.plan import Disturbance, make_plan, price_pence


def test_given_a_seed_when_it_is_played_again_then_the_storm_is_the_same() -> None:
    assert make_plan(calls=300, seed=7) == make_plan(calls=300, seed=7)
    assert make_plan(calls=300, seed=7) != make_plan(calls=300, seed=8)


@pytest.mark.parametrize("calls", [1, 2, 10, 60, 1_000, 5_000])
def test_given_a_number_of_calls_when_planned_then_there_are_so_many_and_every_disturbance(
    calls: int,
) -> None:
    plan = make_plan(calls=calls, seed=1)

    assert len(plan.calls) == calls
    assert all(0 <= call.wallet < len(plan.wallets) for call in plan.calls)
    starts = [call.starts_at_seconds for call in plan.calls]
    assert starts == sorted(starts)
    kinds = Counter(kind for _, kind in plan.disturbances)
    assert kinds[Disturbance.RESTART_DATABASE] == kinds[Disturbance.API_DOWN] == 1
    assert 1 <= kinds[Disturbance.KILL_WORKER] <= 6
    assert all(0 <= at < calls for at, _ in plan.disturbances)


def test_given_thousands_of_calls_when_planned_then_each_fault_happens_to_one_in_twenty() -> None:
    plan = make_plan(calls=5_000, seed=1)
    faults: Counter[str] = Counter()
    for call in plan.calls:
        faults.update(f"{name} {fate}" for name, fate in call.script["messages"].items())
        faults.update(
            name
            for name in ("controlFailures", "controlSeconds", "lookupFailures")
            if name in call.script
        )

    fates = [f"{m} {f}" for m in ("in-progress", "ended", "report") for f in ("lost", "late")]
    fates += ["report doubled", "ended doubled", "in-progress doubled"]
    expected = [*fates, "assistant-request doubled", "controlFailures", "controlSeconds"]
    assert set(faults) == {*expected, "lookupFailures"}
    assert all(0.035 < count / 5_000 < 0.065 for count in faults.values()), faults


def test_given_thousands_of_calls_when_planned_then_wallets_are_rich_dry_and_in_between() -> None:
    plan = make_plan(calls=5_000, seed=1)
    on = Counter(call.wallet for call in plan.calls)

    assert 0 in plan.wallets
    tight = [wallet for wallet, pence in enumerate(plan.wallets) if 0 < pence < 100]
    assert len(tight) > 100
    # Several calls at a time empty one wallet.
    assert sum(on[wallet] > 1 for wallet in tight) > 50
    assert {call.call_type for call in plan.calls} == {
        "inboundPhoneCall",
        "outboundPhoneCall",
        "webCall",
    }


@pytest.mark.parametrize(("seconds", "pence"), [(0, 0), (1, 1), (2, 2), (60, 49), (61, 50)])
def test_given_a_duration_when_priced_by_the_second_then_pence_are_rounded_up(
    seconds: int, pence: int
) -> None:
    assert price_pence(seconds) == pence
