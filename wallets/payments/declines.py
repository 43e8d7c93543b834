"""Automatic recharges that failed: pauses between attempts, and an end to them.

A recharge that failed is counted when its top-up is, so whoever hears of it first counts it once.
"""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from wallets import alerts
from wallets.models import Organization, PaymentProfile, TopUp

# A card that was declined is not tried again before this; after one decline more than there are
# pauses, recharges are off until the customer turns them on.
PAUSES = (timedelta(hours=1), timedelta(hours=6))
DECLINES_UNTIL_OFF = len(PAUSES) + 1

AUTHENTICATION_REQUIRED = "authentication_required"


def count_decline(organization: Organization, topup: TopUp) -> None:
    """Count a recharge that has just failed; the organization and the top-up are locked."""
    profile = PaymentProfile.objects.get(pk=organization.pk)
    profile.declines_in_a_row += 1
    is_off = profile.declines_in_a_row >= DECLINES_UNTIL_OFF
    if is_off:
        organization.auto_recharge_enabled = False
        organization.save(update_fields=["auto_recharge_enabled"])
        profile.recharge_not_before = None
    else:
        profile.recharge_not_before = timezone.now() + PAUSES[profile.declines_in_a_row - 1]
    profile.save(update_fields=["declines_in_a_row", "recharge_not_before"])
    _tell(organization, topup, profile, is_off=is_off)


def _tell(
    organization: Organization, topup: TopUp, profile: PaymentProfile, *, is_off: bool
) -> None:
    key = str(topup.pk)
    if topup.failure_code == AUTHENTICATION_REQUIRED:
        alerts.raise_alert(
            organization.pk,
            alerts.Kind.RECHARGE_NEEDS_AUTHENTICATION,
            key=key,
            context={
                "amount_pence": topup.amount_pence,
                "url": f"{settings.SITE_URL}/wallet/top-up/?amount_pence={topup.amount_pence}",
                "balance_pence": organization.balance_pence,
            },
        )
    elif not is_off:
        alerts.raise_alert(
            organization.pk,
            alerts.Kind.RECHARGE_FAILED,
            key=key,
            context={
                "amount_pence": topup.amount_pence,
                "reason": topup.failure,
                "next_attempt_at": profile.recharge_not_before,
                "balance_pence": organization.balance_pence,
            },
        )
    if is_off:
        alerts.raise_alert(
            organization.pk,
            alerts.Kind.RECHARGE_OFF,
            key=key,
            context={
                "declines": profile.declines_in_a_row,
                "reason": topup.failure,
                "balance_pence": organization.balance_pence,
            },
        )
