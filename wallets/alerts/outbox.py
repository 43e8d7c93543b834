"""Writing an alert down, in the transaction of the fact that it tells of.

The ledger uses this, so it knows models only. Who is told, by what words, is decided on sending.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone

from voxbilling.after_commit import send_after_commit
from wallets.models import Alert

Kind = Alert.Kind

SEND_TASK = "wallets.tasks.send_alerts"
# In seconds: the sweep has long done what a task so late would do.
_SEND_EXPIRES = 60

# What each kind tells; exactly these are given. Amounts are `_pence`, and moments, which are
# datetimes, end in `_at`. A `reason` is a whole sentence that the customer reads.
FIGURES: dict[Kind, frozenset[str]] = {
    Kind.LOW_BALANCE: frozenset({"balance_pence", "low_balance_pence", "owed_pence"}),
    Kind.EMPTY: frozenset({"balance_pence", "debt_limit_pence", "owed_pence"}),
    Kind.TOPUP_RECEIPT: frozenset(
        {"amount_pence", "is_automatic", "paid_at", "reference", "balance_pence", "owed_pence"}
    ),
    # `next_attempt_at` is None if there is none.
    Kind.RECHARGE_FAILED: frozenset({"amount_pence", "reason", "next_attempt_at", "balance_pence"}),
    Kind.RECHARGE_OFF: frozenset({"declines", "reason", "balance_pence"}),
    Kind.RECHARGE_NEEDS_AUTHENTICATION: frozenset({"amount_pence", "url", "balance_pence"}),
    Kind.REFUND_MADE: frozenset({"amount_pence", "reference", "balance_pence"}),
    # `owed_pence` is what the wallet owes now, and `reason` says what happened at the bank.
    Kind.PAYMENT_CLAWED_BACK: frozenset({"amount_pence", "reason", "balance_pence", "owed_pence"}),
    Kind.CALLS_CUT_OFF: frozenset({"count", "calls"}),
    Kind.RENTAL_UNPAID: frozenset({"number", "price_pence", "releases_at"}),
    Kind.NUMBER_RELEASED: frozenset({"number", "price_pence", "unpaid_since_at"}),
}


def raise_alert(organization_id: UUID, kind: Kind, *, key: str, context: Mapping[str, Any]) -> None:
    """Have an organization told of a fact, once this is committed, and once for each key.

    Called in the transaction that makes the fact true. If the task is lost, the sweep sends it.
    Raises ValueError if the context is not what FIGURES says of the kind.
    """
    check_context(kind, context)
    now = timezone.now()
    alert = Alert(
        organization_id=organization_id,
        kind=kind,
        key=key,
        context=dict(context),
        created_at=now,
        next_attempt_at=now,
    )
    Alert.objects.bulk_create([alert], ignore_conflicts=True)
    send_after_commit(SEND_TASK, expires=_SEND_EXPIRES)


def check_context(kind: Kind, context: Mapping[str, Any]) -> None:
    """Raises ValueError if an e-mail of this kind would lack a figure, or leave one out."""
    if set(context) != FIGURES[kind]:
        raise ValueError(
            f"A {kind} alert tells {', '.join(sorted(FIGURES[kind]))}, "
            f"and was given {', '.join(sorted(context))}."
        )
