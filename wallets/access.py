"""Who may see and spend what: the one place that decides for which organization a person acts."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from voxbilling import logs
from wallets.models import Membership, Organization


class AccessRefused(Exception):
    """A person may not act for an organization; the text says what to do."""


class OrganizationNotNamed(AccessRefused):
    """It is not clear which organization is meant."""


class OrganizationMalformed(AccessRefused):
    """What names the organization is no id."""


class NotAMember(AccessRefused):
    """The organization is somebody else's, or the person belongs to none."""


class OrganizationUnknown(AccessRefused):
    """No organization has this id."""


class MayOnlyRead(AccessRefused):
    """A viewer, or staff without the permission, asked for what only owners may do."""


class StaffOnly(AccessRefused):
    """A customer asked for what only the operator's staff may see."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a person may do with one organization."""

    organization_id: UUID
    may_spend: bool
    is_staff: bool = False

    def require_spending(self) -> None:
        """Raises MayOnlyRead."""
        if not self.may_spend:
            who = "staff of the group admin" if self.is_staff else "an owner of the organization"
            raise MayOnlyRead(f"You may only look: {who} can do this.")

    def require_staff(self) -> None:
        """Raises StaffOnly."""
        if not self.is_staff:
            raise StaffOnly("Only staff may see this.")


def find_access(user: Any, named: str | None) -> Access:
    """What this signed-in person may do with the organization named, or with their only one.

    Owners may spend, viewers may only read. Staff may name any organization, and do there what
    their groups allow. Raises AccessRefused.
    """
    found = _access_of(user, named)
    logs.learn(organization_id=found.organization_id, user_id=user.pk)
    return found


def _access_of(user: Any, named: str | None) -> Access:
    if named is not None:
        return _access_to(user, _parsed(named))
    if user.is_staff:
        raise OrganizationNotNamed("Name an organization by its id, in the header X-Org-Id.")
    # Two are enough to know that there are several.
    memberships = list(Membership.objects.filter(user=user).order_by("created_at")[:2])
    if not memberships:
        raise NotAMember("You do not belong to any organization.")
    if len(memberships) > 1:
        raise OrganizationNotNamed(
            "You belong to several organizations: name one by its id, in the header X-Org-Id."
        )
    return _of(memberships[0])


def _access_to(user: Any, organization_id: UUID) -> Access:
    if user.is_staff:
        if not user.has_perm("wallets.view_organization"):
            raise NotAMember("No group of yours may see organizations: ask an administrator.")
    else:
        membership = Membership.objects.filter(user=user, organization_id=organization_id).first()
        if membership is not None:
            return _of(membership)
    # That an organization exists tells nothing: its id cannot be guessed.
    if not Organization.objects.filter(pk=organization_id).exists():
        raise OrganizationUnknown(f"There is no organization {organization_id}.")
    if not user.is_staff:
        raise NotAMember("You do not belong to this organization.")
    return Access(
        organization_id=organization_id,
        may_spend=user.has_perm("wallets.act_for_organization"),
        is_staff=True,
    )


def _of(membership: Membership) -> Access:
    return Access(
        organization_id=membership.organization_id,
        may_spend=membership.role == Membership.Role.OWNER,
    )


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _parsed(named: str) -> UUID:
    # UUID() itself takes braces, URNs and other scripts' digits, too.
    if not _UUID.fullmatch(named):
        raise OrganizationMalformed(
            "X-Org-Id must be an organization's UUID, like 0197a3f0-0000-7000-8000-000000000000."
        )
    return UUID(named)
