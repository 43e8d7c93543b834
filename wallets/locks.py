"""The lock that every money operation takes first.

Order of locks in a transaction: WebhookEvent, Organization (by primary key when several), Call,
the rest. The organization's lock covers its holds and entries: nothing writes those without it.
"""

from collections.abc import Iterable
from uuid import UUID

from django.core.exceptions import ValidationError

from wallets.errors import OrganizationNotFound
from wallets.models import Organization


def lock_organization(organization_id: UUID | str) -> Organization:
    """Lock one organization until the transaction ends, waiting for whoever has it.

    `no_key` leaves foreign keys to the row usable, so inserts elsewhere do not wait for it.
    Raises OrganizationNotFound.
    """
    try:
        return Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
    except (Organization.DoesNotExist, ValidationError, ValueError, TypeError):
        raise OrganizationNotFound(organization_id) from None


def lock_free_organizations(organization_ids: Iterable[UUID]) -> dict[UUID, Organization]:
    """Lock those of the organizations that nobody else has locked; for sweeps, which come again."""
    organizations = (
        Organization.objects.select_for_update(no_key=True, skip_locked=True)
        .filter(pk__in=set(organization_ids))
        .order_by("pk")
    )
    return {organization.pk: organization for organization in organizations}
