"""The lock that every money operation takes first.

Order of locks in a transaction: WebhookEvent, Organization (by primary key when several), Call,
the rest. The organization's lock covers its holds and entries: nothing writes those without it.
"""

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from wallets.errors import OrganizationNotFound
from wallets.models import Organization

P = ParamSpec("P")
R = TypeVar("R")


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


def atomic_against_other_organizations(command: Callable[P, R]) -> Callable[P, R]:
    """Run in a transaction, and once more if another organization took the call id meanwhile.

    The organization's lock keeps its own commands apart; between two organizations only the unique
    index decides. The second run then finds the winner's row, and refuses.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with transaction.atomic():
                return command(*args, **kwargs)
        except IntegrityError as error:
            if not isinstance(error.__cause__, UniqueViolation):
                raise
        with transaction.atomic():
            return command(*args, **kwargs)

    return run
