"""What a query would be run as."""

from tests.wallets.invariants import rows
from voxbilling.tenancy import TENANT_ROLE


def state() -> tuple:
    """The role, how it was set, and the organization; '' and unset are the same to a policy."""
    [(user, role, organization)] = rows(
        "SELECT current_user::text, current_setting('role'),"
        " coalesce(current_setting('voxbilling.organization_id', true), '')"
    )
    return user, role, organization


def tenant_state(organization_id) -> tuple:
    return TENANT_ROLE, TENANT_ROLE, str(organization_id)
