"""Charging an ended call, once, and noting on the call what that came to."""

from django.utils import timezone

from calls.models import Call
from wallets import ledger


def charge(call: Call, charged_seconds: int, settled_from: Call.SettledFrom) -> None:
    """Settle a call at a duration in whole seconds; the caller holds its locks, and saves it.

    Where the customer's program settled it before, the difference is charged or given back.
    """
    settlement = ledger.commit_reserved_credits(
        call_id=call.call_id,
        duration_seconds=charged_seconds,
        organization_id=call.organization_id,
    )
    call.charged_pence = settlement.actual_cost_pence - settlement.uncollected_pence
    call.uncollected_pence = settlement.uncollected_pence
    if settlement.duplicate:
        _correct(call, charged_seconds, settled_from)
    call.settled_at = timezone.now()
    call.settled_from = settled_from
    call.review_reason = ""
    call.reconcile_at = None


def _correct(call: Call, charged_seconds: int, settled_from: Call.SettledFrom) -> None:
    """Charge a call that somebody else settled by another duration, and tell staff."""
    correction = ledger.correct_settlement(
        call_id=call.call_id,
        duration_seconds=charged_seconds,
        organization_id=call.organization_id,
    )
    call.charged_pence = correction.charged_pence
    call.uncollected_pence = correction.uncollected_pence
    if correction.settled_seconds != charged_seconds:
        source = "staff's decision" if settled_from == settled_from.STAFF else "Vapi's report"
        call.add_attention(
            f"Settled before at {correction.settled_seconds} s, and corrected to the "
            f"{charged_seconds} s of {source}."
        )
    if correction.unclear_pence:
        call.add_attention(
            f"{correction.unclear_pence}p too much had been left owed, and has been recovered or "
            "written off since: refund what was recovered."
        )
