"""Money in, corrections by hand, and payments taken back from outside."""

from uuid import UUID

from django.db import transaction

from wallets.ledger.arguments import (
    MAX_AMOUNT_PENCE,
    check_amount,
    check_choice,
    check_created_by,
    check_description,
    check_range,
    stored_key,
)
from wallets.ledger.owed import recover_from
from wallets.ledger.posting import (
    append_entry,
    find_entry,
    find_replay,
    posting,
    require_effective_balance,
    require_same,
    save_organization,
)
from wallets.locks import lock_organization
from wallets.models import CreditTransaction, Organization
from wallets.results import Posting

Type = CreditTransaction.Type
Direction = CreditTransaction.Direction

_PAID_FROM_TOPUP = "Owed before, paid from a top-up"
_PAID_FROM_RETURN = "Owed before, paid from money that came back"


@transaction.atomic
def add_credits(
    *,
    organization_id: UUID | str,
    amount_pence: int,
    credit_type: str,
    description: str,
    idempotency_key: str,
    created_by_id: int | None = None,
) -> Posting:
    """Credit the wallet with a top-up, a refund or a bonus (`credit_type`).

    What is owed is paid from a top-up at once, by an entry of its own, unless the organization is
    set otherwise. The figures returned are those of the credit.

    Raises OrganizationNotFound, IdempotencyConflict.
    """
    check_choice(credit_type, "credit_type", CreditTransaction.CREDIT_TYPES)
    return _credit_or_debit(
        organization_id=organization_id,
        entry_type=credit_type,
        direction=Direction.CREDIT,
        amount_pence=amount_pence,
        description=description,
        key=stored_key("credit", idempotency_key),
        created_by_id=created_by_id,
        owed_is_paid=_PAID_FROM_TOPUP if credit_type == Type.TOPUP else "",
    )


@transaction.atomic
def return_payment(
    *, organization_id: UUID | str, amount_pence: int, reason: str, idempotency_key: str
) -> Posting:
    """Credit, by an adjustment, money that was taken back and has returned.

    What is owed is paid from it at once, as from a top-up. The figures returned are those of the
    credit. Raises OrganizationNotFound, IdempotencyConflict.
    """
    return _credit_or_debit(
        organization_id=organization_id,
        entry_type=Type.ADJUSTMENT,
        direction=Direction.CREDIT,
        amount_pence=amount_pence,
        description=reason,
        key=stored_key("adjustment", idempotency_key),
        created_by_id=None,
        owed_is_paid=_PAID_FROM_RETURN,
    )


@transaction.atomic
def adjust_balance(
    *,
    organization_id: UUID | str,
    change_pence: int,
    reason: str,
    idempotency_key: str,
    created_by_id: int | None = None,
) -> Posting:
    """Correct the balance by hand: above 0 credits, below 0 debits.

    A debit takes from the effective balance only. Raises InsufficientBalance,
    OrganizationNotFound, IdempotencyConflict.
    """
    check_range(change_pence, "The change in pence", -MAX_AMOUNT_PENCE, MAX_AMOUNT_PENCE)
    return _credit_or_debit(
        organization_id=organization_id,
        entry_type=Type.ADJUSTMENT,
        direction=Direction.CREDIT if change_pence > 0 else Direction.DEBIT,
        amount_pence=abs(change_pence),
        description=reason,
        key=stored_key("adjustment", idempotency_key),
        created_by_id=created_by_id,
    )


@transaction.atomic
def claw_back(
    *, organization_id: UUID | str, amount_pence: int, description: str, idempotency_key: str
) -> Posting:
    """Take back a payment that was disputed or refunded from outside, and suspend.

    Takes what calls can spend, never what live calls hold; the rest is owed.
    Raises OrganizationNotFound, IdempotencyConflict.
    """
    check_amount(amount_pence)
    check_description(description)
    key = stored_key("clawback", idempotency_key)
    organization = lock_organization(organization_id)
    entry = find_entry(organization, key)
    if entry is not None:
        # What was taken and what was owed depended on the wallet; their sum is what was asked.
        asked_pence = entry.amount_pence + entry.owed_change_pence
        require_same(
            (entry.type, asked_pence, entry.description), (Type.CLAWBACK, amount_pence, description)
        )
        return posting(entry, duplicate=True)
    taken_pence = min(amount_pence, organization.spendable_on_calls_pence)
    entry = append_entry(
        organization,
        entry_type=Type.CLAWBACK,
        direction=Direction.DEBIT,
        amount_pence=taken_pence,
        owed_change_pence=amount_pence - taken_pence,
        key=key,
        description=description,
    )
    organization.status = Organization.Status.SUSPENDED
    save_organization(organization)
    return posting(entry, duplicate=False)


def _credit_or_debit(
    *,
    organization_id: UUID | str,
    entry_type: str,
    direction: Direction,
    amount_pence: int,
    description: str,
    key: str,
    created_by_id: int | None,
    owed_is_paid: str = "",
) -> Posting:
    """`owed_is_paid` describes the entry that pays what is owed; without it, nothing is paid."""
    check_amount(amount_pence)
    check_description(description)
    check_created_by(created_by_id)
    organization = lock_organization(organization_id)
    entry = find_replay(organization, key, entry_type, direction, amount_pence, description)
    if entry is not None:
        return posting(entry, duplicate=True)
    if direction == Direction.DEBIT:
        require_effective_balance(organization, amount_pence)
    entry = append_entry(
        organization,
        entry_type=entry_type,
        direction=direction,
        amount_pence=amount_pence,
        key=key,
        description=description,
        created_by_id=created_by_id,
    )
    if owed_is_paid:
        recover_from(entry, organization, owed_is_paid)
    save_organization(organization)
    return posting(entry, duplicate=False)
