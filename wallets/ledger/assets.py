"""Assets, such as phone numbers, bought from the wallet in full or not at all."""

from uuid import UUID

from django.db import transaction

from voxbilling.counts import ledger_command
from wallets.errors import OrganizationSuspended
from wallets.ledger.arguments import check_amount, check_choice, check_description, stored_key
from wallets.ledger.posting import (
    append_entry,
    find_replay,
    require_effective_balance,
    save_organization,
)
from wallets.locks import lock_organization
from wallets.models import CreditTransaction
from wallets.results import AssetDeduction

Direction = CreditTransaction.Direction


@ledger_command("charge_asset")
@transaction.atomic
def check_balance_and_deduct_asset_cost(
    *,
    organization_id: UUID | str,
    cost_pence: int,
    asset_type: str,
    description: str,
    idempotency_key: str,
) -> AssetDeduction:
    """Charge an asset, such as a phone number, in full or not at all.

    Needs effective balance ≥ cost: no debt, and money held for live calls is not available.
    `asset_type` is one of CreditTransaction.ASSET_TYPES. A refusal does not use up the key.

    Raises InsufficientBalance, OrganizationNotFound, OrganizationSuspended, IdempotencyConflict.
    """
    check_amount(cost_pence)
    check_description(description)
    check_choice(asset_type, "asset_type", CreditTransaction.ASSET_TYPES)
    key = stored_key("asset", idempotency_key)
    organization = lock_organization(organization_id)
    entry = find_replay(organization, key, asset_type, Direction.DEBIT, cost_pence, description)
    duplicate = entry is not None
    if entry is None:
        if organization.is_suspended:
            raise OrganizationSuspended(organization.pk)
        require_effective_balance(organization, cost_pence)
        entry = append_entry(
            organization,
            entry_type=asset_type,
            direction=Direction.DEBIT,
            amount_pence=cost_pence,
            key=key,
            description=description,
        )
        save_organization(organization)
    return AssetDeduction(
        transaction_id=entry.pk,
        balance_before_pence=entry.balance_before_pence,
        balance_after_pence=entry.balance_after_pence,
        duplicate=duplicate,
    )
