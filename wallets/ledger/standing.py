"""What staff allow an organization: its debt limit, and whether it may spend at all."""

from uuid import UUID

from django.db import transaction

from wallets.errors import DebtLimitInUse
from wallets.ledger.arguments import MAX_AMOUNT_PENCE, check_range
from wallets.ledger.posting import save_organization
from wallets.locks import lock_organization
from wallets.models import Organization


@transaction.atomic
def set_debt_limit(*, organization_id: UUID | str, debt_limit_pence: int) -> None:
    """Approve how far below 0 calls may take the effective balance.

    Raises DebtLimitInUse, OrganizationNotFound.
    """
    check_range(debt_limit_pence, "debt_limit_pence", 0, MAX_AMOUNT_PENCE)
    organization = lock_organization(organization_id)
    in_use_pence = max(-organization.effective_balance_pence, 0)
    if debt_limit_pence < in_use_pence:
        raise DebtLimitInUse(debt_limit_pence=debt_limit_pence, in_use_pence=in_use_pence)
    organization.debt_limit_pence = debt_limit_pence
    save_organization(organization)


@transaction.atomic
def suspend_organization(*, organization_id: UUID | str) -> None:
    """Stop new holds, extensions and assets. Raises OrganizationNotFound."""
    _set_status(organization_id, Organization.Status.SUSPENDED)


@transaction.atomic
def resume_organization(*, organization_id: UUID | str) -> None:
    """Undo a suspension. Raises OrganizationNotFound."""
    _set_status(organization_id, Organization.Status.ACTIVE)


def _set_status(organization_id: UUID | str, status: Organization.Status) -> None:
    organization = lock_organization(organization_id)
    organization.status = status
    save_organization(organization)
