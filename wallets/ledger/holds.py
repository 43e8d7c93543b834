"""The holds of calls: authorize, raise, void."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from voxbilling.counts import ledger_command
from wallets.errors import IdempotencyConflict, InsufficientBalance, OrganizationSuspended
from wallets.ledger.arguments import (
    MAX_DURATION_SECONDS,
    MAX_ESTIMATED_MINUTES,
    check_call_id,
    check_live_until,
    check_range,
)
from wallets.ledger.posting import save_organization
from wallets.ledger.reservations import (
    close_uncharged,
    find_reservations,
    lock_reservation,
    missing_pence,
    new_reservation,
    renewed_expiry,
    require_owner,
    reservation_result,
)
from wallets.locks import atomic_against_other_organizations, lock_organization
from wallets.results import Release, Reservation


@ledger_command("reserve")
@atomic_against_other_organizations
def reserve_call_credits(
    *,
    organization_id: UUID | str,
    call_id: str,
    vapi_call_id: str | None = None,
    estimated_minutes: int = 5,
) -> Reservation:
    """Hold the price of a call's estimated minutes, or what the wallet can pay of it.

    What calls can spend is effective balance + debt limit. If the estimate costs more, the hold is
    what can be spent, down to whole increments; if not even one increment can be paid, the call is
    refused. One reservation per call, ever: asking again returns the first, also when it has
    closed since (`active` tells). Vapi's id is added to an active one that did not know it.

    Raises InsufficientBalance, OrganizationNotFound, OrganizationSuspended, and
    IdempotencyConflict for a call id that is another organization's, or Vapi's id for a hold that
    has closed.
    """
    check_call_id(call_id)
    if vapi_call_id is not None:
        check_call_id(vapi_call_id)
    check_range(estimated_minutes, "estimated_minutes", 1, MAX_ESTIMATED_MINUTES)
    organization = lock_organization(organization_id)
    existing = find_reservations(call_id, vapi_call_id=vapi_call_id or call_id)
    for reservation in existing:
        require_owner(reservation, organization)
    if existing:
        reservation = existing[0]
        is_new_id = reservation.vapi_call_id is None and vapi_call_id is not None
        if len(existing) == 1 and is_new_id and reservation.is_active:
            # Learned late, or Vapi's own report of this call would be charged beside it.
            reservation.vapi_call_id = vapi_call_id
            reservation.save(update_fields=["vapi_call_id"])
        elif len(existing) == 1 and is_new_id and vapi_call_id != reservation.call_id:
            # What is over cannot be a call that Vapi has only now given its id: its tariff and its
            # charge are those of another call.
            raise IdempotencyConflict(
                "This call's hold has closed, so it cannot be given Vapi's id any more; "
                "reserve with a callId that is new."
            )
        return reservation_result(organization, reservation, duplicate=True)
    if organization.is_suspended:
        raise OrganizationSuspended(organization.pk)
    tariff = organization.tariff
    hold_pence = tariff.price(estimated_minutes * 60)
    if hold_pence > organization.spendable_on_calls_pence:
        hold_pence = tariff.largest_hold(organization.spendable_on_calls_pence)
    if hold_pence == 0:
        raise InsufficientBalance(
            balance_pence=organization.balance_pence,
            reserved_pence=organization.reserved_pence,
            required_pence=tariff.price(1),
            available_pence=organization.spendable_on_calls_pence,
        )
    reservation = new_reservation(
        organization,
        call_id=call_id,
        vapi_call_id=vapi_call_id,
        reserved_pence=hold_pence,
        estimated_minutes=estimated_minutes,
    )
    reservation.save(force_insert=True)
    organization.reserved_pence += hold_pence
    save_organization(organization)
    return reservation_result(organization, reservation, duplicate=False)


@transaction.atomic
def extend_reservation(
    *, call_id: str, cover_seconds: int, live_until: datetime | None = None
) -> Reservation:
    """Raise a live hold to cover this many elapsed seconds, as far as the wallet allows.

    Also renews its expiry: from now, or to `live_until` if the call may live longer than that.
    Never lowers a hold; asking twice for the same seconds raises it once. A hold that has closed
    is returned as it is (`active` tells). A suspended organization's hold is renewed and not
    raised.

    Raises ReservationNotFound, OrganizationSuspended.
    """
    check_range(cover_seconds, "cover_seconds", 0, MAX_DURATION_SECONDS)
    check_live_until(live_until)
    organization, reservation = lock_reservation(call_id)
    if not reservation.is_active:
        return reservation_result(organization, reservation, duplicate=True)
    added_pence = missing_pence(organization, reservation, cover_seconds)
    if added_pence and organization.is_suspended:
        raise OrganizationSuspended(organization.pk)
    expires_at = renewed_expiry(reservation, live_until)
    if added_pence or expires_at != reservation.expires_at:
        reservation.reserved_pence += added_pence
        reservation.expires_at = expires_at
        reservation.save(update_fields=["reserved_pence", "expires_at"])
    if added_pence:
        organization.reserved_pence += added_pence
        save_organization(organization)
    return reservation_result(organization, reservation, duplicate=added_pence == 0)


@transaction.atomic
def release_reservation(*, call_id: str) -> Release:
    """Give a hold back without charging. If a report comes later, the call is charged directly.

    A hold that has already closed is left as it is. Raises ReservationNotFound.
    """
    organization, reservation = lock_reservation(call_id)
    duplicate = not reservation.is_active
    if not duplicate:
        close_uncharged(organization, reservation)
        reservation.save(force_update=True)
        save_organization(organization)
    return Release(
        reservation_id=reservation.pk,
        released_pence=reservation.released_pence or 0,
        duplicate=duplicate,
    )
