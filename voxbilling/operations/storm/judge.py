"""Whether every call of a storm was billed right: our own sums, against what is stored."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models.functions import Coalesce

from calls.models import Call
from voxbilling.operations.latencies import percentiles
from voxbilling.operations.storm.plan import price_pence
from voxbilling.operations.storm.play import Truth
from wallets.models import CreditReservation, CreditTransaction
from wallets.selectors import ledger_differences

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(kw_only=True)
class Verdict:
    """The four figures, and a sentence for each thing that is wrong.

    `cuts` has the calls that were ended because their money ran out, each with the milliseconds
    from the end of its money to its own; below 0 it ended before.
    """

    connected: int = 0
    charged_pence: int = 0
    overrun_pence: int = 0
    not_billed: int = 0
    billed_twice: int = 0
    cuts: list[tuple[float, Truth]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def overrun_pence_per_1000_calls(self) -> float:
        return 1000 * self.overrun_pence / self.connected if self.connected else 0.0

    @property
    def cut_percentiles(self) -> tuple[float, float] | None:
        """p50 and p99 of those milliseconds; None if no call was ended for want of money."""
        if not self.cuts:
            return None
        p50, _, p99 = percentiles([milliseconds for milliseconds, _ in self.cuts])
        return p50, p99

    def latest_cuts(self, count: int) -> list[str]:
        """The calls that ended latest after their money, a sentence for each."""
        latest = sorted(self.cuts, key=lambda cut: cut[0], reverse=True)[:count]
        return [f"{truth} ended {milliseconds:+,.0f} ms" for milliseconds, truth in latest]


@dataclass(kw_only=True)
class _Charge:
    """What the ledger did for one call: pence taken and owed, by so many charges.

    `settled_seconds` has one duration for each reservation that was settled.
    """

    settled_seconds: list[int | None] = field(default_factory=list)
    entries: int = 0
    taken_pence: int = 0
    unpaid_pence: int = 0


def unsettled(truths: Sequence[Truth]) -> int:
    """How many things are still to be done: connected calls to be charged, holds to be closed."""
    charges = _charges()
    waiting = sum(
        truth.connected and not any(charges[truth.id].settled_seconds) for truth in truths
    )
    return waiting + len(_holds_left())


def judge(truths: Sequence[Truth]) -> Verdict:
    """Hold what is stored against what happened."""
    verdict, charges = Verdict(), _charges()
    for truth in truths:
        _judge_call(verdict, truth, charges.pop(truth.id, _Charge()))
    verdict.problems += [f"{hold} is left, though all calls are over." for hold in _holds_left()]
    verdict.problems += [
        f"Call {call_id} was charged, and never was a call." for call_id in charges
    ]
    verdict.problems += [f"{difference}." for difference in ledger_differences()]
    money_ended = dict(
        Call.objects.exclude(money_ended_at=None).values_list("vapi_call_id", "money_ended_at")
    )
    for truth in truths:
        money_ended_at = money_ended.get(truth.id)
        if truth.connected and truth.ended_at and money_ended_at:
            verdict.cuts.append(((truth.ended_at - money_ended_at) / _MILLISECOND, truth))
    return verdict


def _judge_call(verdict: Verdict, truth: Truth, charge: _Charge) -> None:
    def wrong(what: str) -> None:
        verdict.problems.append(f"{truth} {what}.")

    expected_pence = price_pence(truth.seconds)
    charged_pence = charge.taken_pence + charge.unpaid_pence
    verdict.connected += truth.connected
    verdict.charged_pence += charge.taken_pence
    verdict.overrun_pence += charge.unpaid_pence
    if len([seconds for seconds in charge.settled_seconds if seconds]) > 1 or charge.entries > 1:
        verdict.billed_twice += 1
        wrong(f"was charged {charge.entries} times")
    elif truth.connected and not charge.entries:
        verdict.not_billed += 1
        wrong("was not charged")
    elif charged_pence != expected_pence or (
        truth.connected and charge.settled_seconds != [truth.seconds]
    ):
        wrong(
            f"costs {expected_pence}p, and was charged {charged_pence}p for "
            f"{charge.settled_seconds} s"
        )


def _charges() -> defaultdict[str, _Charge]:
    """What was charged, by Vapi's id of the call."""
    charges: defaultdict[str, _Charge] = defaultdict(_Charge)
    entries = CreditTransaction.objects.filter(reservation__isnull=False)
    ids = dict(CreditReservation.objects.values_list("pk", Coalesce("vapi_call_id", "call_id")))
    for pk, seconds in CreditReservation.objects.filter(settled_at__isnull=False).values_list(
        "pk", "settled_seconds"
    ):
        charges[ids[pk]].settled_seconds.append(seconds)
    for entry in entries:
        charge = charges[ids[entry.reservation_id]]
        charge.entries += entry.type == CreditTransaction.Type.CALL_DEDUCTION
        charge.taken_pence += entry.balance_before_pence - entry.balance_after_pence
        charge.unpaid_pence += entry.owed_after_pence - entry.owed_before_pence
    return charges


def _holds_left() -> list[CreditReservation]:
    return list(CreditReservation.objects.filter(status=CreditReservation.Status.ACTIVE))
