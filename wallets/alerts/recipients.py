"""Who of an organization gets its alerts."""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction

from wallets.locks import lock_organization
from wallets.models import AlertRecipient, Membership, Organization

MAX_ADDRESSES = 20
# Of RFC 5321, and of the column.
MAX_ADDRESS_LENGTH = 254


def addresses_of(organization: Organization) -> list[str]:
    """The addresses that were set for it, or else its owners'; empty if there are none at all."""
    return chosen_addresses(organization.pk) or addresses_of_owners(organization.pk)


def chosen_addresses(organization_id: UUID) -> list[str]:
    """The addresses that were set for it."""
    chosen = AlertRecipient.objects.filter(organization=organization_id).order_by("email")
    return list(chosen.values_list("email", flat=True))


def addresses_of_owners(organization_id: UUID) -> list[str]:
    """Where alerts go while no address is set."""
    owners = Membership.objects.filter(
        organization=organization_id, role=Membership.Role.OWNER, user__is_active=True
    ).exclude(user__email="")
    return sorted(set(owners.values_list("user__email", flat=True)))


@transaction.atomic
def choose_addresses(organization_id: UUID, addresses: Collection[str]) -> None:
    """Send alerts to these addresses, and to no others; to its owners if there are none.

    Raises OrganizationNotFound.
    """
    # The lock lets one set the list at a time.
    organization = lock_organization(organization_id)
    set_before = AlertRecipient.objects.filter(organization=organization)
    set_before.exclude(email__in=addresses).delete()
    kept = set(set_before.values_list("email", flat=True))
    AlertRecipient.objects.bulk_create(
        AlertRecipient(organization=organization, email=address)
        for address in addresses
        if address not in kept
    )
