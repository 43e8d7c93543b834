"""A call id that turns out to be another call's is taken from the reservation that has it."""

from uuid import UUID

from django.db import transaction

from wallets.errors import ReservationNotFound
from wallets.ledger.arguments import check_call_id
from wallets.ledger.posting import save_organization
from wallets.ledger.reservations import close_uncharged, find_reservation, require_owner
from wallets.locks import lock_organization
from wallets.results import Displacement


@transaction.atomic
def give_up_call_id(*, call_id: str, organization_id: UUID | str) -> Displacement:
    """Free a call id for the call that it really means; what was charged stays charged.

    The reservation is called by its own key from then on. It keeps Vapi's id if that is another
    one; if not, nobody can name its call any more, and its hold is given back.

    Raises ReservationNotFound, OrganizationNotFound, and IdempotencyConflict for a call that is
    another organization's.
    """
    check_call_id(call_id)
    organization = lock_organization(organization_id)
    reservation = find_reservation(call_id)
    if reservation is None:
        raise ReservationNotFound(call_id)
    require_owner(reservation, organization)
    reservation.call_id = reservation.displaced_call_id
    if reservation.vapi_call_id == call_id:
        reservation.vapi_call_id = None
    released_pence = 0
    if reservation.is_active and reservation.vapi_call_id is None:
        released_pence = close_uncharged(organization, reservation)
    reservation.save(force_update=True)
    if released_pence:
        save_organization(organization)
    return Displacement(
        reservation_id=reservation.pk,
        call_id=reservation.call_id,
        released_pence=released_pence,
        settled_seconds=reservation.settled_seconds,
    )
