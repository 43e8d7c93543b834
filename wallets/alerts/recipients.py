"""Who of an organization gets its alerts."""

from wallets.models import AlertRecipient, Membership, Organization


def addresses_of(organization: Organization) -> list[str]:
    """The addresses that were set for it, or else its owners'; empty if there are none at all."""
    chosen = AlertRecipient.objects.filter(organization=organization).order_by("email")
    if found := list(chosen.values_list("email", flat=True)):
        return found
    owners = Membership.objects.filter(
        organization=organization, role=Membership.Role.OWNER, user__is_active=True
    ).exclude(user__email="")
    return sorted(set(owners.values_list("user__email", flat=True)))
