"""What a customer lets the wallet do by itself: when it is recharged, by how much, up to what."""

from uuid import UUID

from django.conf import settings
from django.db import transaction

from wallets.formats import pounds
from wallets.ledger.crossings import ask_for_recharge
from wallets.locks import lock_organization
from wallets.models import Organization, PaymentProfile
from wallets.payments.topups import MAX_TOPUP_PENCE

# Ten of the largest top-ups.
MAX_MONTHLY_CAP_PENCE = 10 * MAX_TOPUP_PENCE


class NoCardKept(Exception):
    """There is no card to charge; the text says how to have one kept."""

    def __init__(self) -> None:
        super().__init__(
            "No card is kept to recharge from: top up once and agree to keep the card, then turn "
            "automatic recharge on."
        )


class SettingsNotAllowed(Exception):
    """Amounts that cannot be; `problems` has a sentence for each setting by its name."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


@transaction.atomic
def configure(
    *,
    organization_id: UUID,
    enabled: bool,
    amount_pence: int,
    threshold_pence: int,
    monthly_cap_pence: int | None = None,
) -> Organization:
    """Set when and by how much a wallet recharges itself; returns the organization as it is then.

    Without a monthly cap, the one that was set before stays, raised to one recharge. Turned on
    after it was off, it begins anew: declines are forgotten. A wallet that is low already is
    recharged at once.
    Raises SettingsNotAllowed, NoCardKept, OrganizationNotFound.
    """
    organization = lock_organization(organization_id)
    if monthly_cap_pence is None:
        monthly_cap_pence = max(organization.auto_recharge_monthly_cap_pence, amount_pence)
    wanted = (amount_pence, threshold_pence, monthly_cap_pence)
    # What was allowed once, and is no more, must not keep anybody from turning it off.
    is_only_turned_off = not enabled and wanted == (
        organization.auto_recharge_amount_pence,
        organization.auto_recharge_threshold_pence,
        organization.auto_recharge_monthly_cap_pence,
    )
    if not is_only_turned_off and (problems := _problems(*wanted)):
        raise SettingsNotAllowed(problems)
    profile = PaymentProfile.objects.filter(pk=organization.pk).first()
    if enabled and (profile is None or not profile.has_payment_method):
        raise NoCardKept
    is_new = enabled and not organization.auto_recharge_enabled
    organization.auto_recharge_enabled = enabled
    organization.auto_recharge_amount_pence = amount_pence
    organization.auto_recharge_threshold_pence = threshold_pence
    organization.auto_recharge_monthly_cap_pence = monthly_cap_pence
    organization.save(
        update_fields=[
            "auto_recharge_enabled",
            "auto_recharge_amount_pence",
            "auto_recharge_threshold_pence",
            "auto_recharge_monthly_cap_pence",
        ]
    )
    # Saved again as it was, it would get round the pause after a decline.
    if profile is not None and is_new:
        profile.declines_in_a_row = 0
        profile.recharge_not_before = None
        profile.save(update_fields=["declines_in_a_row", "recharge_not_before"])
    if enabled:
        ask_for_recharge(organization)
    return organization


def _problems(amount_pence: int, threshold_pence: int, monthly_cap_pence: int) -> dict[str, str]:
    problems = {}
    lowest = settings.WALLET_MIN_TOPUP_PENCE
    if not lowest <= amount_pence <= MAX_TOPUP_PENCE:
        problems["amount_pence"] = (
            f"A recharge is from {pounds(lowest)} to {pounds(MAX_TOPUP_PENCE)}."
        )
    if not 0 <= threshold_pence <= MAX_TOPUP_PENCE:
        problems["threshold_pence"] = (
            f"The threshold is from {pounds(0)} to {pounds(MAX_TOPUP_PENCE)}."
        )
    if not amount_pence <= monthly_cap_pence <= MAX_MONTHLY_CAP_PENCE:
        problems["monthly_cap_pence"] = (
            f"The limit is from one recharge, {pounds(amount_pence)}, to "
            f"{pounds(MAX_MONTHLY_CAP_PENCE)}."
        )
    return problems
