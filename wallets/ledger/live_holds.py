"""Raising the holds of many live calls at once, for the sweep that watches them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from wallets.ledger.arguments import (
    MAX_DURATION_SECONDS,
    check_call_id,
    check_live_until,
    check_range,
)
from wallets.ledger.crossings import announce_crossings
from wallets.ledger.reservations import (
    by_call_id,
    find_reservations_of_calls,
    missing_pence,
    renewed_expiry,
    reservation_result,
)
from wallets.locks import lock_free_organizations
from wallets.models import CreditReservation, Organization
from wallets.results import Reservation

MOST_EXTENSIONS = 500


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What the hold of one live call should cover, in elapsed seconds, and until when it lives."""

    call_id: str
    cover_seconds: int
    live_until: datetime | None = None

    def __post_init__(self) -> None:
        check_call_id(self.call_id)
        check_range(self.cover_seconds, "cover_seconds", 0, MAX_DURATION_SECONDS)
        check_live_until(self.live_until)


@transaction.atomic
def extend_reservations(*, extensions: Sequence[Extension]) -> dict[str, Reservation]:
    """Raise live holds as `extend_reservation` does, at most 500, in a fixed number of statements.

    Where a wallet cannot pay for all of its calls, the first in order get what there is. Returns
    the holds by either id. A call is missing if it has no reservation by that id, or if its
    organization is busy: come again. A suspended organization's holds are renewed and not raised.
    """
    if (
        not isinstance(extensions, list | tuple)
        or len(extensions) > MOST_EXTENSIONS
        or not all(isinstance(extension, Extension) for extension in extensions)
    ):
        raise ValueError(f"extensions must be a list of at most {MOST_EXTENSIONS} Extensions.")
    call_ids = [extension.call_id for extension in extensions]
    owners = find_reservations_of_calls(call_ids).values_list("organization_id", flat=True)
    organizations = lock_free_organizations(owners)
    # Read again under the lock: one may have been committed meanwhile.
    holds = by_call_id(find_reservations_of_calls(call_ids).filter(organization__in=organizations))
    changed = [
        holds[extension.call_id]
        for extension in extensions
        if extension.call_id in holds
        and _extend(
            organizations[holds[extension.call_id].organization_id],
            holds[extension.call_id],
            extension,
        )
    ]
    if changed:
        CreditReservation.objects.bulk_update(changed, ["reserved_pence", "expires_at"])
        changed_organizations = {
            hold.organization_id: organizations[hold.organization_id] for hold in changed
        }.values()
        Organization.objects.bulk_update(changed_organizations, ["reserved_pence"])
        for organization in changed_organizations:
            announce_crossings(organization)
    changed_ids = {hold.pk for hold in changed}
    return {
        call_id: reservation_result(
            organizations[hold.organization_id], hold, duplicate=hold.pk not in changed_ids
        )
        for call_id, hold in holds.items()
    }


def _extend(
    organization: Organization, reservation: CreditReservation, extension: Extension
) -> bool:
    """Raise and renew a hold, in memory; returns whether that changed anything."""
    if not reservation.is_active:
        return False
    added_pence = 0
    if not organization.is_suspended:
        added_pence = missing_pence(organization, reservation, extension.cover_seconds)
    expires_at = renewed_expiry(reservation, extension.live_until)
    is_changed = added_pence > 0 or expires_at != reservation.expires_at
    reservation.reserved_pence += added_pence
    reservation.expires_at = expires_at
    organization.reserved_pence += added_pence
    return is_changed
