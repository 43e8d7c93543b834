"""What happens in a storm. The same seed and number of calls give the same plan, always."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RATE_PENCE_PER_MINUTE = 49
# Each call is three or four messages, and the machine also plays Vapi.
CALLS_PER_SECOND = 12
# How often each fault happens.
FAULT_CHANCE = 0.05

_RICH_WALLETS = 8
_RICH_PENCE = 10_000_000
_DRY_CHANCE = 0.05
# Groups of calls on a wallet whose money may end while they talk.
_TIGHT_CHANCE = 0.15
_MOST_CALLS_ON_A_TIGHT_WALLET = 4
_TIGHT_SPREAD_SECONDS = 3
_NEVER_CONNECTS_CHANCE = 0.05
_RETRIES_CHANCE = 0.5
# Far enough apart for a worker to start again.
_MOST_WORKER_KILLS = 6
_CALLS_PER_WORKER_KILL = 300

_TYPES = {"inboundPhoneCall": 60, "outboundPhoneCall": 30, "webCall": 10}
_ENDED_REASONS = {
    "customer-ended-call": 80,
    "assistant-ended-call": 10,
    "silence-timed-out": 5,
    "voicemail": 5,
}
_NEVER_CONNECTED_REASONS = ["customer-busy", "customer-did-not-answer"]


class Disturbance(StrEnum):
    KILL_WORKER = "a worker is killed"
    RESTART_DATABASE = "the database is restarted"
    API_DOWN = "Vapi's API is down"


@dataclass(frozen=True, kw_only=True)
class PlannedCall:
    """A call that starts so many seconds into the storm, on the wallet with this index.

    `script` is what the sandbox is told of it.
    """

    starts_at_seconds: float
    wallet: int
    call_type: str
    script: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`wallets` are their opening balances in pence; `calls` are in the order of their starts.

    Each disturbance happens when so many calls have started.
    """

    wallets: list[int]
    calls: list[PlannedCall]
    disturbances: list[tuple[int, Disturbance]]


def make_plan(*, calls: int, seed: int) -> Plan:
    """Plan a storm of so many calls."""
    chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    wallets = [_RICH_PENCE] * _RICH_WALLETS + [0]
    dry = _RICH_WALLETS
    planned: list[PlannedCall] = []
    while len(planned) < calls:
        starts_at = len(planned) / CALLS_PER_SECOND
        kind = chance.random()
        if kind < _TIGHT_CHANCE:
            wallets.append(price_pence(chance.randint(3, 24)))
            together = chance.randint(1, _MOST_CALLS_ON_A_TIGHT_WALLET)
            planned += [
                _call(
                    chance,
                    starts_at + chance.uniform(0, _TIGHT_SPREAD_SECONDS),
                    wallet=len(wallets) - 1,
                    lasts_seconds=chance.uniform(4, 30),
                )
                for _ in range(min(together, calls - len(planned)))
            ]
        else:
            wallet = dry if kind < _TIGHT_CHANCE + _DRY_CHANCE else chance.randrange(_RICH_WALLETS)
            planned.append(_call(chance, starts_at, wallet, lasts_seconds=chance.uniform(0.4, 12)))
    return Plan(
        wallets=wallets,
        calls=sorted(planned, key=lambda call: call.starts_at_seconds),
        disturbances=_disturbances(chance, calls),
    )


def _call(
    chance: random.Random, starts_at_seconds: float, wallet: int, lasts_seconds: float
) -> PlannedCall:
    script: dict[str, Any] = {
        "lastsSeconds": round(lasts_seconds, 3),
        "endedReason": chance.choices([*_ENDED_REASONS], weights=[*_ENDED_REASONS.values()])[0],
        "ringsSeconds": round(chance.uniform(0, 1), 3),
        "messages": {},
    }
    if chance.random() < _NEVER_CONNECTS_CHANCE:
        script |= {"lastsSeconds": 0, "endedReason": chance.choice(_NEVER_CONNECTED_REASONS)}
    for message in ("in-progress", "ended", "report"):
        for fate in ("lost", "doubled", "late"):
            if chance.random() < FAULT_CHANCE:
                script["messages"][message] = fate
    if chance.random() < FAULT_CHANCE:
        script["messages"]["assistant-request"] = "doubled"
    if chance.random() < FAULT_CHANCE:
        script["controlFailures"] = chance.randint(1, 4)
    if chance.random() < FAULT_CHANCE:
        script["controlSeconds"] = round(chance.uniform(0.5, 3), 3)
    if chance.random() < FAULT_CHANCE:
        script["lookupFailures"] = chance.randint(1, 4)
    if chance.random() < _RETRIES_CHANCE:
        script["backoffPlan"] = {
            "type": chance.choice(["fixed", "exponential"]),
            "maxRetries": chance.randint(1, 5),
            "baseDelaySeconds": 1,
        }
    return PlannedCall(
        starts_at_seconds=starts_at_seconds,
        wallet=wallet,
        call_type=chance.choices([*_TYPES], weights=[*_TYPES.values()])[0],
        script=script,
    )


def _disturbances(chance: random.Random, calls: int) -> list[tuple[int, Disturbance]]:
    """Each in a part of the storm of its own, in any order."""
    kills = min(1 + calls // _CALLS_PER_WORKER_KILL, _MOST_WORKER_KILLS)
    kinds = [Disturbance.KILL_WORKER] * kills
    kinds += [Disturbance.RESTART_DATABASE, Disturbance.API_DOWN]
    chance.shuffle(kinds)
    part = calls / len(kinds)
    return [
        (int((number + chance.uniform(0.2, 0.8)) * part), kind) for number, kind in enumerate(kinds)
    ]


def price_pence(seconds: int) -> int:
    """What so many seconds cost, billed by the second: the storm's own sum, not the engine's."""
    return -(-seconds * RATE_PENCE_PER_MINUTE // 60)
