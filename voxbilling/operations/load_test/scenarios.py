"""The three scenarios: what is sent at once, and what must have come of it."""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from voxbilling.operations.load_test.accounts import RATE_PENCE_PER_MINUTE
from voxbilling.operations.load_test.callers import Answer, Request
from wallets.models import CreditReservation, CreditTransaction, Organization

PROVISION, RESERVE = "provision", "reserve"
NUMBER_COST_PENCE = 1000
_FUNDED_PENCE = 1000
_LONG_MINUTES = 20
_EACH_INTERLEAVED = 25


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`problems` says, from the answers and the database, what went wrong; nothing if all is right.

    The wallet has `funded_pence` when the requests arrive.
    """

    title: str
    funded_pence: int
    requests: Sequence[Request]
    problems: Callable[[UUID, list[Answer]], list[str]]


def one_wallet_many_provisions(count: int) -> Scenario:
    """A wallet for one number, and many who want one."""

    def problems(organization_id: UUID, answers: list[Answer]) -> list[str]:
        return [
            *_wrong_statuses(answers, Counter({201: 1, 402: count - 1})),
            *_wrong_wallet(organization_id, balance_pence=0, reserved_pence=0, purchases=1),
        ]

    return Scenario(
        title="1: money for one",
        funded_pence=_FUNDED_PENCE,
        requests=[_provision() for _ in range(count)],
        problems=problems,
    )


def one_call_many_reservations(count: int) -> Scenario:
    """One call, announced many times."""
    call_id = str(uuid.uuid4())

    def problems(organization_id: UUID, answers: list[Answer]) -> list[str]:
        return [
            *(_wrong_statuses(answers, Counter({200: count})) or _wrong_duplicates(answers)),
            *_wrong_wallet(
                organization_id,
                balance_pence=_FUNDED_PENCE,
                reserved_pence=5 * RATE_PENCE_PER_MINUTE,
                purchases=0,
                holds=1,
            ),
        ]

    return Scenario(
        title="2: the same call",
        funded_pence=_FUNDED_PENCE,
        requests=[_reserve(call_id, minutes=5) for _ in range(count)],
        problems=problems,
    )


def provisions_against_reservations() -> Scenario:
    """A wallet for one number or one long call, and as many who want the one as the other."""
    requests = [
        request
        for _ in range(_EACH_INTERLEAVED)
        for request in (_provision(), _reserve(str(uuid.uuid4()), minutes=_LONG_MINUTES))
    ]

    def problems(organization_id: UUID, answers: list[Answer]) -> list[str]:
        if any(answer.status == 201 for answer in answers):
            return [
                *_wrong_statuses(answers, Counter({201: 1, 402: len(requests) - 1})),
                *_wrong_wallet(organization_id, balance_pence=0, reserved_pence=0, purchases=1),
            ]
        return [
            *_wrong_statuses(answers, Counter({200: 1, 402: len(requests) - 1})),
            *_wrong_wallet(
                organization_id,
                balance_pence=_FUNDED_PENCE,
                reserved_pence=_LONG_MINUTES * RATE_PENCE_PER_MINUTE,
                purchases=0,
                holds=1,
            ),
        ]

    return Scenario(
        title="3: one or the other",
        funded_pence=_FUNDED_PENCE,
        requests=requests,
        problems=problems,
    )


def _provision() -> Request:
    return Request(
        kind=PROVISION,
        path="/api/managed-telephony/provision",
        body={"country": "GB", "numberType": "local"},
    )


def _reserve(call_id: str, *, minutes: int) -> Request:
    return Request(
        kind=RESERVE,
        path="/api/billing/reserve-credits",
        body={"callId": call_id, "estimatedMinutes": minutes},
    )


def _wrong_statuses(answers: list[Answer], expected: Counter[int]) -> list[str]:
    found = Counter(answer.status for answer in answers if answer.status is not None)
    problems = []
    if found != +expected:
        problems.append(f"The answers should be {_counted(expected)}, and are {_counted(found)}.")
    failures = Counter(answer.failure for answer in answers if answer.status is None)
    for failure, count in failures.items():
        problems.append(f"{count} requests were not answered: {failure}.")
    return problems


def _wrong_duplicates(answers: list[Answer]) -> list[str]:
    created = sum(answer.body.get("duplicate") is False for answer in answers)
    ids = {answer.body.get("reservationId") for answer in answers}
    problems = []
    if created != 1:
        problems.append(f"One reservation should have been created, and {created} were.")
    if len(ids) != 1:
        problems.append(f"All should name one reservation, and they name {len(ids)}.")
    return problems


def _counted(statuses: Counter[int]) -> str:
    return ", ".join(f"{count} × {status}" for status, count in sorted((+statuses).items()))


def _wrong_wallet(
    organization_id: UUID,
    *,
    balance_pence: int,
    reserved_pence: int,
    purchases: int,
    holds: int = 0,
) -> list[str]:
    organization = Organization.objects.get(pk=organization_id)
    # The first entry is the money that the wallet was given.
    entries = CreditTransaction.objects.filter(organization=organization, sequence__gt=1)
    figures = {
        "the balance in pence": (organization.balance_pence, balance_pence),
        "what is held in pence": (organization.reserved_pence, reserved_pence),
        "the number of ledger entries": (entries.count(), purchases),
        "the number of holds": (
            CreditReservation.objects.filter(organization=organization).count(),
            holds,
        ),
    }
    return [
        f"Afterwards {what} should be {expected}, and is {actual}."
        for what, (actual, expected) in figures.items()
        if actual != expected
    ]
