"""Finding, locking and making the one reservation of a call."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from wallets.errors import IdempotencyConflict, ReservationNotFound
from wallets.ledger.arguments import check_call_id, check_new_call_id
from wallets.locks import lock_organization
from wallets.models import CreditReservation, Organization
from wallets.results import Reservation


def find_reservation(call_id: str) -> CreditReservation | None:
    """The reservation of a call: the id matches `vapi_call_id` first, then `call_id`."""
    return next(iter(find_reservations(call_id, vapi_call_id=call_id)), None)


def find_reservations(call_id: str, *, vapi_call_id: str) -> list[CreditReservation]:
    """Every reservation that either id names, the one that is meant first.

    There is more than one only if the two ids belong to two calls.
    """
    ids = {call_id, vapi_call_id}
    found = CreditReservation.objects.filter(Q(vapi_call_id__in=ids) | Q(call_id__in=ids))
    return sorted(
        found,
        key=lambda row: (
            row.vapi_call_id != vapi_call_id,
            row.vapi_call_id != call_id,
            row.call_id != call_id,
        ),
    )


def find_reservations_of_calls(call_ids: Collection[str]) -> QuerySet[CreditReservation]:
    """The reservations of many calls, by either of their ids."""
    return CreditReservation.objects.filter(Q(call_id__in=call_ids) | Q(vapi_call_id__in=call_ids))


def by_call_id(reservations: Iterable[CreditReservation]) -> dict[str, CreditReservation]:
    """Reservations by their ids: an id means `vapi_call_id` first, then `call_id`."""
    rows = list(reservations)
    return {row.call_id: row for row in rows} | {
        row.vapi_call_id: row for row in rows if row.vapi_call_id
    }


def lock_reservation(call_id: str) -> tuple[Organization, CreditReservation]:
    """Lock the organization of a call's reservation, then read the reservation under that lock."""
    check_call_id(call_id)
    found = find_reservation(call_id)
    if found is None:
        raise ReservationNotFound(call_id)
    organization = lock_organization(found.organization_id)
    found.refresh_from_db()
    return organization, found


def require_owner(reservation: CreditReservation, organization: Organization) -> None:
    if reservation.organization_id != organization.pk:
        raise IdempotencyConflict(
            "This call id cannot be used here; use the id of a call of your own."
        )


def close_uncharged(organization: Organization, reservation: CreditReservation) -> int:
    """Give an active hold back, in memory; the caller saves both. Returns its pence."""
    reservation.status = CreditReservation.Status.RELEASED
    reservation.committed_pence = 0
    reservation.released_pence = reservation.reserved_pence
    reservation.released_at = timezone.now()
    organization.reserved_pence -= reservation.reserved_pence
    return reservation.reserved_pence


def default_expiry(now: datetime) -> datetime:
    return now + timedelta(minutes=settings.RESERVATION_TTL_MINUTES)


def renewed_expiry(reservation: CreditReservation, live_until: datetime | None) -> datetime:
    """When a hold expires whose call was just seen alive; never earlier than before."""
    return max(filter(None, [reservation.expires_at, default_expiry(timezone.now()), live_until]))


def missing_pence(
    organization: Organization, reservation: CreditReservation, cover_seconds: int
) -> int:
    """Pence that a hold lacks to cover this many seconds, as far as the wallet can pay them."""
    tariff = reservation.tariff
    wanted_pence = tariff.price(cover_seconds)
    possible_pence = reservation.reserved_pence + organization.spendable_on_calls_pence
    if wanted_pence > possible_pence:
        wanted_pence = tariff.largest_hold(possible_pence)
    return max(wanted_pence - reservation.reserved_pence, 0)


def new_reservation(
    organization: Organization,
    *,
    call_id: str,
    vapi_call_id: str | None,
    reserved_pence: int,
    estimated_minutes: int,
) -> CreditReservation:
    check_new_call_id(call_id)
    now = timezone.now()
    return CreditReservation(
        organization=organization,
        call_id=call_id,
        vapi_call_id=vapi_call_id,
        reserved_pence=reserved_pence,
        estimated_minutes=estimated_minutes,
        rate_pence_per_minute=organization.rate_pence_per_minute,
        billing_increment_seconds=organization.billing_increment_seconds,
        created_at=now,
        expires_at=default_expiry(now),
    )


def reservation_result(
    organization: Organization, reservation: CreditReservation, *, duplicate: bool
) -> Reservation:
    return Reservation(
        reservation_id=reservation.pk,
        reserved_pence=reservation.reserved_pence,
        balance_pence=organization.balance_pence,
        effective_balance_pence=organization.effective_balance_pence,
        active_reservations_pence=organization.reserved_pence,
        expires_at=reservation.expires_at,
        active=reservation.is_active,
        duplicate=duplicate,
    )
