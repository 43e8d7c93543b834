"""Money that comes back to a wallet: what is owed is paid from it first, as from a top-up."""

from wallets import ledger
from wallets.locks import lock_organization
from wallets.models import CreditTransaction, Organization


def give_back(
    organization: Organization, *, amount_pence: int, reason: str, key: str
) -> CreditTransaction:
    """Credit a locked organization by an adjustment; returns the entry of it.

    What is then owed is paid from the effective balance, unless staff turned that off: in whatever
    order payments are taken and come back, the wallet ends the same.
    """
    posting = ledger.adjust_balance(
        organization_id=organization.pk,
        change_pence=amount_pence,
        reason=reason,
        idempotency_key=key,
    )
    now = lock_organization(organization.pk)
    owed_pence = min(now.owed_pence, now.effective_balance_pence)
    if now.recovers_owed_from_topups and owed_pence > 0:
        ledger.recover_owed(
            organization_id=organization.pk,
            amount_pence=owed_pence,
            description="Owed before, paid from money that came back",
            idempotency_key=key,
        )
    return CreditTransaction.objects.get(pk=posting.transaction_id)
