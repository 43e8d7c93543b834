"""The sweep that gives back holds whose calls were never settled."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from wallets.locks import lock_free_organizations
from wallets.models import CreditReservation, Organization

HoldStatus = CreditReservation.Status

EXPIRE_BATCH_SIZE = 200
EXPIRE_BATCHES_PER_SWEEP = 25


def cleanup_expired_reservations() -> int:
    """Give back the holds past their expiry; returns how many.

    Set-based and bounded: candidates are picked without locks, in batches; organizations that are
    busy are left for the next sweep; every hold is looked at again under the lock, so one that was
    committed or renewed meanwhile is left alone.
    """
    now = timezone.now()
    expired = 0
    after: tuple[datetime, UUID] | None = None
    for _ in range(EXPIRE_BATCHES_PER_SWEEP):
        overdue = CreditReservation.objects.filter(status=HoldStatus.ACTIVE, expires_at__lt=now)
        if after is not None:
            overdue = overdue.filter(
                Q(expires_at__gt=after[0]) | Q(expires_at=after[0], pk__gt=after[1])
            )
        candidates = list(
            overdue.order_by("expires_at", "pk").values_list("pk", "organization_id", "expires_at")[
                :EXPIRE_BATCH_SIZE
            ]
        )
        if not candidates:
            break
        after = (candidates[-1][2], candidates[-1][0])
        expired += _expire_batch(
            reservation_ids=[pk for pk, _, _ in candidates],
            organization_ids={organization_id for _, organization_id, _ in candidates},
            now=now,
        )
    return expired


@transaction.atomic
def _expire_batch(
    *, reservation_ids: list[UUID], organization_ids: set[UUID], now: datetime
) -> int:
    organizations = lock_free_organizations(organization_ids)
    holds = list(
        CreditReservation.objects.filter(
            pk__in=reservation_ids,
            organization__in=organizations,
            status=HoldStatus.ACTIVE,
            expires_at__lt=now,
        )
    )
    if not holds:
        return 0
    CreditReservation.objects.filter(pk__in=[hold.pk for hold in holds]).update(
        status=HoldStatus.EXPIRED,
        committed_pence=0,
        released_pence=F("reserved_pence"),
        released_at=now,
    )
    for hold in holds:
        organizations[hold.organization_id].reserved_pence -= hold.reserved_pence
    Organization.objects.bulk_update(organizations.values(), ["reserved_pence"])
    return len(holds)
