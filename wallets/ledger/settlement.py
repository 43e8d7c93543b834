"""Settling a call: the charge from its hold, or directly when no hold is left."""

from uuid import UUID

from django.utils import timezone

from voxbilling.counts import ledger_command
from wallets.errors import ReservationNotFound
from wallets.ledger.arguments import (
    MAX_DURATION_SECONDS,
    check_call_id,
    check_range,
    stored_key,
)
from wallets.ledger.posting import append_entry, save_organization
from wallets.ledger.reservations import (
    find_reservation,
    new_reservation,
    require_owner,
)
from wallets.locks import atomic_against_other_organizations, lock_organization
from wallets.models import CreditReservation, CreditTransaction, Organization
from wallets.results import Settlement

Type = CreditTransaction.Type
HoldStatus = CreditReservation.Status


@ledger_command("commit")
@atomic_against_other_organizations
def commit_reserved_credits(
    *, call_id: str, duration_seconds: int, organization_id: UUID | str | None = None
) -> Settlement:
    """Settle a call: charge its price from its hold, and give the rest of the hold back.

    Charges min(price, hold + what calls can spend). What cannot be paid is owed, on the same
    entry. Without an active hold (never made, expired, released) the same charge is made directly;
    for a call with no reservation at all `organization_id` says whose it is. Duration 0 settles
    without an entry. A call is settled once: asking again, with any duration, changes nothing.

    Raises ReservationNotFound, OrganizationNotFound, and IdempotencyConflict for a call that is
    another organization's.
    """
    check_call_id(call_id)
    check_range(duration_seconds, "duration_seconds", 0, MAX_DURATION_SECONDS)
    if organization_id is None:
        found = find_reservation(call_id)
        if found is None:
            raise ReservationNotFound(call_id)
        organization_id = found.organization_id
    organization = lock_organization(organization_id)
    # Only what is read under the lock may be decided on, so a row found before is read again.
    reservation = find_reservation(call_id)
    if reservation is not None:
        require_owner(reservation, organization)
        if reservation.is_settled:
            return _settlement_replay(organization, reservation)
    return _settle(organization, reservation, call_id, duration_seconds)


def _settle(
    organization: Organization,
    reservation: CreditReservation | None,
    call_id: str,
    duration_seconds: int,
) -> Settlement:
    now = timezone.now()
    has_row = reservation is not None
    if reservation is None:
        reservation = new_reservation(
            organization,
            call_id=call_id,
            vapi_call_id=None,
            reserved_pence=0,
            estimated_minutes=0,
        )
    captures_hold = reservation.is_active
    held_pence = reservation.reserved_pence if captures_hold else 0
    cost_pence = reservation.tariff.price(duration_seconds)
    charged_pence = min(cost_pence, held_pence + organization.spendable_on_calls_pence)
    uncollected_pence = cost_pence - charged_pence
    released_pence = max(held_pence - charged_pence, 0)
    balance_before_pence = organization.balance_pence

    reservation.settled_at = now
    reservation.settled_seconds = duration_seconds
    if captures_hold:
        reservation.status = HoldStatus.COMMITTED
        reservation.committed_at = now
        reservation.committed_pence = charged_pence
        reservation.released_pence = released_pence
        organization.reserved_pence -= held_pence
    reservation.save(force_insert=not has_row, force_update=has_row)
    entry = None
    if cost_pence:
        organization.total_calls += 1
        entry = append_entry(
            organization,
            entry_type=Type.CALL_DEDUCTION,
            direction=CreditTransaction.Direction.DEBIT,
            amount_pence=charged_pence,
            owed_change_pence=uncollected_pence,
            key=stored_key("call", str(reservation.pk)),
            description=f"Call of {duration_seconds} s",
            reservation=reservation,
        )
    if cost_pence or held_pence:
        save_organization(organization)
    return Settlement(
        transaction_id=entry.pk if entry else None,
        reservation_id=reservation.pk,
        reserved_pence=held_pence,
        actual_cost_pence=cost_pence,
        released_pence=released_pence,
        uncollected_pence=uncollected_pence,
        balance_before_pence=balance_before_pence,
        balance_after_pence=organization.balance_pence,
        duration_seconds=duration_seconds,
        duplicate=False,
    )


def _settlement_replay(organization: Organization, reservation: CreditReservation) -> Settlement:
    """The first settlement. One that cost nothing left no entry: balances are then today's."""
    entry = CreditTransaction.objects.filter(
        reservation=reservation, type=Type.CALL_DEDUCTION
    ).first()
    captured_hold = reservation.status == HoldStatus.COMMITTED
    return Settlement(
        transaction_id=entry.pk if entry else None,
        reservation_id=reservation.pk,
        reserved_pence=reservation.reserved_pence if captured_hold else 0,
        actual_cost_pence=entry.amount_pence + entry.owed_change_pence if entry else 0,
        released_pence=(reservation.released_pence or 0) if captured_hold else 0,
        uncollected_pence=entry.owed_change_pence if entry else 0,
        balance_before_pence=entry.balance_before_pence if entry else organization.balance_pence,
        balance_after_pence=entry.balance_after_pence if entry else organization.balance_pence,
        duration_seconds=reservation.settled_seconds or 0,
        duplicate=True,
    )
