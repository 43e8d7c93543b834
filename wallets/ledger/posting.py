"""The steps that commands share: find a replay, append an entry, save the organization's figures.

All of them expect the organization to be locked by the caller.
"""

from django.utils import timezone

from wallets.errors import IdempotencyConflict, InsufficientBalance
from wallets.ledger.crossings import announce_crossings
from wallets.models import CreditReservation, CreditTransaction, Organization
from wallets.results import Posting

Direction = CreditTransaction.Direction


def append_entry(
    organization: Organization,
    *,
    entry_type: str,
    direction: Direction,
    amount_pence: int,
    key: str,
    description: str,
    owed_change_pence: int = 0,
    reservation: CreditReservation | None = None,
    created_by_id: int | None = None,
) -> CreditTransaction:
    """Append an entry, and carry its figures to the organization, which the caller then saves."""
    signed_pence = amount_pence if direction == Direction.CREDIT else -amount_pence
    entry = CreditTransaction(
        organization=organization,
        sequence=organization.last_sequence + 1,
        type=entry_type,
        direction=direction,
        amount_pence=amount_pence,
        balance_before_pence=organization.balance_pence,
        balance_after_pence=organization.balance_pence + signed_pence,
        owed_before_pence=organization.owed_pence,
        owed_after_pence=organization.owed_pence + owed_change_pence,
        idempotency_key=key,
        description=description,
        reservation=reservation,
        created_by_id=created_by_id,
        created_at=timezone.now(),
    )
    entry.save(force_insert=True)
    organization.last_sequence = entry.sequence
    organization.balance_pence = entry.balance_after_pence
    organization.owed_pence = entry.owed_after_pence
    if entry_type in CreditTransaction.SPENDING_TYPES:
        organization.total_spent_pence += amount_pence
    elif reservation is not None:
        # The correction of a call, either way.
        organization.total_spent_pence -= signed_pence
    elif entry_type == CreditTransaction.Type.REFUND:
        organization.total_spent_pence -= amount_pence
    elif entry_type == CreditTransaction.Type.TOPUP:
        organization.total_topped_up_pence += amount_pence
    return entry


def save_organization(organization: Organization) -> None:
    """Write the organization's figures, and tell of the bounds that they fell below."""
    organization.save(
        update_fields=[
            "balance_pence",
            "reserved_pence",
            "owed_pence",
            "debt_limit_pence",
            "last_sequence",
            "status",
            "total_spent_pence",
            "total_topped_up_pence",
            "total_calls",
        ]
    )
    announce_crossings(organization)


def find_entry(organization: Organization, key: str) -> CreditTransaction | None:
    return CreditTransaction.objects.filter(organization=organization, idempotency_key=key).first()


def find_replay(
    organization: Organization,
    key: str,
    entry_type: str,
    direction: Direction,
    amount_pence: int,
    description: str,
) -> CreditTransaction | None:
    """The entry that this key made before, if it was asked for the same; None for a new key."""
    entry = find_entry(organization, key)
    if entry is not None:
        require_same(
            (entry.type, entry.direction, entry.amount_pence, entry.description),
            (entry_type, direction, amount_pence, description),
        )
    return entry


def require_same(first: tuple[object, ...], now: tuple[object, ...]) -> None:
    if first != now:
        raise IdempotencyConflict(
            "This idempotency key was used before with other details; use a new key."
        )


def require_effective_balance(organization: Organization, required_pence: int) -> None:
    if organization.effective_balance_pence < required_pence:
        raise InsufficientBalance(
            balance_pence=organization.balance_pence,
            reserved_pence=organization.reserved_pence,
            required_pence=required_pence,
            available_pence=organization.effective_balance_pence,
        )


def posting(entry: CreditTransaction, *, duplicate: bool) -> Posting:
    return Posting(
        transaction_id=entry.pk,
        amount_pence=entry.amount_pence,
        balance_before_pence=entry.balance_before_pence,
        balance_after_pence=entry.balance_after_pence,
        owed_change_pence=entry.owed_change_pence,
        duplicate=duplicate,
    )
