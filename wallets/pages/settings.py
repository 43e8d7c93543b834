"""What owners set: when the wallet tops itself up, and who gets e-mails about it."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from wallets import selectors
from wallets.access import Access
from wallets.alerts import recipients
from wallets.pages.base import show, spends
from wallets.pages.forms import AlertsForm, AutoRechargeForm
from wallets.payments import cards, recharge_settings, stripe_client


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@spends
def auto_recharge(request: HttpRequest, access: Access) -> HttpResponse:
    """When the wallet tops itself up."""
    form = AutoRechargeForm(request.POST or None, initial=_recharge_settings(access))
    if request.method == "POST" and form.is_valid():
        try:
            recharge_settings.configure(organization_id=access.organization_id, **form.cleaned_data)
        except recharge_settings.SettingsNotAllowed as refusal:
            for name, sentence in refusal.problems.items():
                form.add_error(name, sentence)
        except recharge_settings.NoCardKept as refusal:
            form.add_error("enabled", str(refusal))
        else:
            messages.success(request, "Saved.")
            return redirect("auto-recharge")
    return show(
        request,
        access,
        "wallets/auto_recharge.html",
        lambda: {
            "form": form,
            "wallet": selectors.wallet(access.organization_id),
            "card": selectors.kept_card(access.organization_id),
            "minimum_pence": settings.WALLET_MIN_TOPUP_PENCE,
        },
        400 if form.errors else 200,
    )


@never_cache
@require_POST
@spends
def forget_card(request: HttpRequest, access: Access) -> HttpResponse:
    """Forget the kept card, here and at Stripe."""
    try:
        cards.forget_card(access.organization_id)
    except stripe_client.PaymentError:
        messages.warning(
            request,
            "The card is forgotten here and is not charged any more. Stripe could not be reached "
            "to have it forgotten there, too: tell us if you want us to see to it.",
        )
    else:
        messages.success(request, "The card is forgotten. Automatic top-up is off.")
    return redirect("auto-recharge")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@spends
def alerts(request: HttpRequest, access: Access) -> HttpResponse:
    """Who gets the e-mails about the wallet."""
    form = AlertsForm(
        request.POST or None,
        initial={"addresses": "\n".join(recipients.chosen_addresses(access.organization_id))},
    )
    if request.method == "POST" and form.is_valid():
        recipients.choose_addresses(access.organization_id, form.cleaned_data["addresses"])
        messages.success(request, "Saved.")
        return redirect("alerts")
    owners = recipients.addresses_of_owners(access.organization_id)
    return show(
        request,
        access,
        "wallets/alerts.html",
        lambda: {
            "form": form,
            "wallet": selectors.wallet(access.organization_id),
            "owners": owners,
        },
        400 if form.errors else 200,
    )


def _recharge_settings(access: Access) -> dict[str, object]:
    wallet = selectors.wallet(access.organization_id)
    return {
        "enabled": wallet.auto_recharge_enabled,
        "amount_pence": wallet.auto_recharge_amount_pence,
        "threshold_pence": wallet.auto_recharge_threshold_pence,
        "monthly_cap_pence": wallet.auto_recharge_monthly_cap_pence,
    }
