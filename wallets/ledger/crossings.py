"""What a command does to a wallet that somebody has to know: it runs low, is empty, wants a refill.

Judged from the locked row, as it was and as it is now, so that of many commands at once exactly one
makes the crossing. Low and empty go by the balance: only charges lower it and only credits raise
it, while holds come and go with every call.
"""

from voxbilling.after_commit import send_after_commit
from wallets.alerts.outbox import Kind, raise_alert
from wallets.models import Organization
from wallets.models.organizations import Figures

RECHARGE_TASK = "wallets.tasks.recharge_wallet"
# In seconds: the sweep does what a task so late would do. While Stripe hangs, they would pile up.
_RECHARGE_EXPIRES = 60


def announce_crossings(organization: Organization) -> None:
    """Tell of the bounds that the wallet fell below since its row was read; the lock is held.

    Statements are added only for what is told.
    """
    before, now = organization.figures_in_row, organization.figures
    organization.figures_in_row = now
    _announce_balance(organization, before, now)
    threshold_pence = organization.auto_recharge_threshold_pence
    if (
        organization.auto_recharge_enabled
        and before.effective_balance_pence >= threshold_pence > now.effective_balance_pence
    ):
        ask_for_recharge(organization)


def ask_for_recharge(organization: Organization) -> None:
    """Have the wallet recharged, if it may be, once what is being done is committed."""
    send_after_commit(RECHARGE_TASK, args=[str(organization.pk)], expires=_RECHARGE_EXPIRES)


def _announce_balance(organization: Organization, before: Figures, now: Figures) -> None:
    key = str(organization.last_sequence)
    if _is_empty(organization, now):
        # That it is low as well says nothing more.
        if not _is_empty(organization, before):
            raise_alert(
                organization.pk,
                Kind.EMPTY,
                key=key,
                context={
                    "balance_pence": now.balance_pence,
                    "debt_limit_pence": now.debt_limit_pence,
                    "owed_pence": organization.owed_pence,
                },
            )
    elif now.balance_pence < organization.low_balance_pence <= before.balance_pence:
        raise_alert(
            organization.pk,
            Kind.LOW_BALANCE,
            key=key,
            context={
                "balance_pence": now.balance_pence,
                "low_balance_pence": organization.low_balance_pence,
                "owed_pence": organization.owed_pence,
            },
        )


def _is_empty(organization: Organization, figures: Figures) -> bool:
    """Whether the wallet would not pay the shortest call, even if nothing were held."""
    could_spend_pence = figures.balance_pence + figures.debt_limit_pence
    return could_spend_pence < organization.tariff.price(1)
