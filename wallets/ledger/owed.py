"""What the wallet could not pay: recovered from later money, or given up."""

from uuid import UUID

from django.db import transaction

from wallets.errors import MoreThanOwed
from wallets.ledger.arguments import (
    check_amount,
    check_created_by,
    check_description,
    stored_key,
)
from wallets.ledger.posting import (
    append_entry,
    find_entry,
    posting,
    require_effective_balance,
    require_same,
    save_organization,
)
from wallets.locks import lock_organization
from wallets.models import CreditTransaction, Organization
from wallets.results import Posting

Type = CreditTransaction.Type


@transaction.atomic
def recover_owed(
    *,
    organization_id: UUID | str,
    amount_pence: int,
    description: str,
    idempotency_key: str,
    created_by_id: int | None = None,
) -> Posting:
    """Pay from the effective balance what is owed.

    Raises MoreThanOwed, InsufficientBalance, OrganizationNotFound, IdempotencyConflict.
    """
    return _reduce_owed(
        organization_id=organization_id,
        entry_type=Type.RECOVERY,
        owed_pence=amount_pence,
        debit_pence=amount_pence,
        description=description,
        key=stored_key("recovery", idempotency_key),
        created_by_id=created_by_id,
    )


@transaction.atomic
def write_off_owed(
    *,
    organization_id: UUID | str,
    amount_pence: int,
    reason: str,
    idempotency_key: str,
    created_by_id: int | None = None,
) -> Posting:
    """Give up what is owed; no money moves.

    Raises MoreThanOwed, OrganizationNotFound, IdempotencyConflict.
    """
    return _reduce_owed(
        organization_id=organization_id,
        entry_type=Type.WRITE_OFF,
        owed_pence=amount_pence,
        debit_pence=0,
        description=reason,
        key=stored_key("write_off", idempotency_key),
        created_by_id=created_by_id,
    )


def recover_from(credit: CreditTransaction, organization: Organization, description: str) -> None:
    """Pay what is owed from a credit that was just made, as far as the effective balance reaches.

    Part of that command: the organization is locked and saved by it. If staff turned it off for
    the organization, nothing is paid.
    """
    amount_pence = min(organization.owed_pence, organization.effective_balance_pence)
    if not organization.recovers_owed_from_topups or amount_pence <= 0:
        return
    append_entry(
        organization,
        entry_type=Type.RECOVERY,
        direction=CreditTransaction.Direction.DEBIT,
        amount_pence=amount_pence,
        owed_change_pence=-amount_pence,
        key=stored_key("topup_recovery", str(credit.pk)),
        description=description,
    )


def _reduce_owed(
    *,
    organization_id: UUID | str,
    entry_type: Type,
    owed_pence: int,
    debit_pence: int,
    description: str,
    key: str,
    created_by_id: int | None,
) -> Posting:
    check_amount(owed_pence)
    check_description(description)
    check_created_by(created_by_id)
    organization = lock_organization(organization_id)
    entry = find_entry(organization, key)
    if entry is not None:
        require_same(
            (entry.type, -entry.owed_change_pence, entry.description),
            (entry_type, owed_pence, description),
        )
        return posting(entry, duplicate=True)
    if owed_pence > organization.owed_pence:
        raise MoreThanOwed(asked_pence=owed_pence, owed_pence=organization.owed_pence)
    # A write-off takes no money, so it needs none: also not when the wallet is below 0.
    if debit_pence:
        require_effective_balance(organization, debit_pence)
    entry = append_entry(
        organization,
        entry_type=entry_type,
        direction=CreditTransaction.Direction.DEBIT,
        amount_pence=debit_pence,
        owed_change_pence=-owed_pence,
        key=key,
        description=description,
        created_by_id=created_by_id,
    )
    save_organization(organization)
    return posting(entry, duplicate=False)
