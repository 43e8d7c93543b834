"""Settled by somebody else, then reported by Vapi: the difference is an entry of its own."""

from uuid import UUID

from django.db import transaction

from wallets.errors import CallNotSettled, ReservationNotFound
from wallets.ledger.arguments import (
    MAX_DURATION_SECONDS,
    check_call_id,
    check_range,
    stored_key,
)
from wallets.ledger.posting import append_entry, save_organization
from wallets.ledger.reservations import find_reservation, require_owner
from wallets.locks import lock_organization
from wallets.models import CreditReservation, CreditTransaction, Organization
from wallets.results import Correction

Type = CreditTransaction.Type
Direction = CreditTransaction.Direction


@transaction.atomic
def correct_settlement(
    *, call_id: str, duration_seconds: int, organization_id: UUID | str
) -> Correction:
    """Charge a settled call for this duration after all, at the tariff that it was settled by.

    A longer call takes what calls can spend, and the rest is owed. A shorter one first lowers what
    this call left owed, then gives back of what it took; but if anything was recovered or written
    off since, what is owed stays (`unclear_pence`). No entry is made for a difference of 0.
    A call is corrected once: asking again, with any duration, changes nothing.

    Raises ReservationNotFound, CallNotSettled, OrganizationNotFound, and IdempotencyConflict for
    a call that is another organization's.
    """
    check_call_id(call_id)
    check_range(duration_seconds, "duration_seconds", 0, MAX_DURATION_SECONDS)
    organization = lock_organization(organization_id)
    reservation = find_reservation(call_id)
    if reservation is None:
        raise ReservationNotFound(call_id)
    require_owner(reservation, organization)
    if reservation.settled_seconds is None:
        raise CallNotSettled(call_id)
    charge = _entry_of(reservation, Type.CALL_DEDUCTION)
    if reservation.corrected_seconds is not None:
        entry = _entry_of(reservation, Type.ADJUSTMENT)
        return _correction(reservation, charge, entry, duplicate=True)
    entry = _correct(organization, reservation, charge, duration_seconds)
    return _correction(reservation, charge, entry, duplicate=False)


def _entry_of(reservation: CreditReservation, entry_type: Type) -> CreditTransaction | None:
    return CreditTransaction.objects.filter(reservation=reservation, type=entry_type).first()


def _correct(
    organization: Organization,
    reservation: CreditReservation,
    charge: CreditTransaction | None,
    duration_seconds: int,
) -> CreditTransaction | None:
    settled_seconds = reservation.settled_seconds or 0
    tariff = reservation.tariff
    more_pence = tariff.price(duration_seconds) - tariff.price(settled_seconds)
    if more_pence >= 0:
        direction = Direction.DEBIT
        amount_pence = min(more_pence, organization.spendable_on_calls_pence)
        owed_change_pence = more_pence - amount_pence
    else:
        direction = Direction.CREDIT
        not_taken_pence = min(-more_pence, charge.owed_change_pence if charge else 0)
        owed_change_pence = 0 if _is_owed_less(organization, charge) else -not_taken_pence
        amount_pence = -more_pence - not_taken_pence

    reservation.corrected_seconds = duration_seconds
    reservation.save(update_fields=["corrected_seconds"])
    entry = None
    if amount_pence or owed_change_pence:
        entry = append_entry(
            organization,
            entry_type=Type.ADJUSTMENT,
            direction=direction,
            amount_pence=amount_pence,
            owed_change_pence=owed_change_pence,
            key=stored_key("correction", str(reservation.pk)),
            description=f"Call of {duration_seconds} s, settled at {settled_seconds} s before",
            reservation=reservation,
        )
    if more_pence:
        # One of 0 seconds does not count as a call.
        organization.total_calls += (duration_seconds > 0) - (settled_seconds > 0)
        save_organization(organization)
    return entry


def _is_owed_less(organization: Organization, charge: CreditTransaction | None) -> bool:
    """Whether anything was recovered or written off since a charge: perhaps what it left owed.

    What is owed now may then be other calls', so staff decide.
    """
    return (
        charge is not None
        and CreditTransaction.objects.filter(
            organization=organization,
            type__in=[Type.RECOVERY, Type.WRITE_OFF],
            sequence__gt=charge.sequence,
        ).exists()
    )


def _correction(
    reservation: CreditReservation,
    charge: CreditTransaction | None,
    entry: CreditTransaction | None,
    *,
    duplicate: bool,
) -> Correction:
    """The correction as its entry, or the lack of one, tells it."""
    settled_seconds = reservation.settled_seconds or 0
    corrected_seconds = reservation.corrected_seconds or 0
    taken_pence = charge.amount_pence if charge else 0
    left_owed_pence = charge.owed_change_pence if charge else 0
    change_pence = 0
    owed_change_pence = 0
    if entry is not None:
        change_pence = entry.balance_before_pence - entry.balance_after_pence
        owed_change_pence = entry.owed_change_pence
    back_pence = reservation.tariff.price(settled_seconds) - reservation.tariff.price(
        corrected_seconds
    )
    return Correction(
        transaction_id=entry.pk if entry else None,
        settled_seconds=settled_seconds,
        corrected_seconds=corrected_seconds,
        charged_pence=taken_pence + change_pence,
        uncollected_pence=left_owed_pence + owed_change_pence,
        unclear_pence=max(min(back_pence, left_owed_pence), 0) + min(owed_change_pence, 0),
        duplicate=duplicate,
    )
