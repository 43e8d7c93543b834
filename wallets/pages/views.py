"""The wallet, topping it up, and when it tops itself up."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from voxbilling.api.pages import Cursor, read_cursor
from wallets import selectors
from wallets.access import Access
from wallets.models import CreditTransaction
from wallets.pages.base import reads, show, spends
from wallets.pages.forms import AutoRechargeForm, TopUpForm
from wallets.payments import recharge_settings, stripe_client, topups

LATEST_ENTRIES = 10
ENTRIES_PER_PAGE = 50
# In pounds, to choose from.
SUGGESTED_POUNDS = (25, 50, 100, 250)
_MOST_PENCE_ASKED_FOR = 10**7


@never_cache
@require_safe
@reads
def wallet(request: HttpRequest, access: Access) -> HttpResponse:
    """What is in the wallet, as it is now: the part that refreshes, or the page around it."""
    part = "wallets/_figures.html" if "HX-Request" in request.headers else "wallets/wallet.html"
    page = selectors.entries_page(access.organization_id, limit=LATEST_ENTRIES, cursor=None)
    return TemplateResponse(
        request,
        part,
        {
            "access": access,
            "wallet": selectors.wallet(access.organization_id),
            "entries": page.rows,
        },
    )


@never_cache
@require_safe
@reads
def transactions(request: HttpRequest, access: Access) -> HttpResponse:
    """Every entry of the ledger, newest first, by pages and by type."""
    asked_type = request.GET.get("type", "")
    entry_type = asked_type if asked_type in CreditTransaction.Type.values else None
    page = selectors.entries_page(
        access.organization_id,
        limit=ENTRIES_PER_PAGE,
        entry_type=entry_type,
        cursor=_cursor(request.GET.get("cursor", "")),
    )
    return TemplateResponse(
        request,
        "wallets/transactions.html",
        {
            "access": access,
            "wallet": selectors.wallet(access.organization_id),
            "page": page,
            "entries": page.rows,
            "entry_type": entry_type or "",
            "types": CreditTransaction.Type.choices,
        },
    )


def _cursor(text: str) -> Cursor | None:
    """Where the page begins; an address that was cut short leads to the first page."""
    try:
        return read_cursor(text, int) if text else None
    except ValueError:
        return None


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@spends
def top_up(request: HttpRequest, access: Access) -> HttpResponse:
    """Ask how much, and lead to Stripe's page to pay it on."""
    asked = request.GET.get("amount_pence", "")
    first = {"amount_pence": 5_000, "save_card": False}
    if asked.isascii() and asked.isdecimal() and int(asked[:9]) <= _MOST_PENCE_ASKED_FOR:
        first["amount_pence"] = int(asked[:9])
    form = TopUpForm(request.POST or None, initial=first)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(
                topups.start_checkout(
                    organization_id=access.organization_id,
                    amount_pence=form.cleaned_data["amount_pence"],
                    user_id=request.user.pk,
                    save_card=form.cleaned_data["save_card"],
                )
            )
        except topups.AmountNotAllowed as refusal:
            form.add_error("amount_pence", str(refusal))
        except topups.TooManyOpen as refusal:
            form.add_error(None, str(refusal))
            status = 429
        except stripe_client.PaymentError:
            form.add_error(None, "Card payments cannot be reached now. Please try again later.")
            status = 503
    if form.errors and status == 200:
        status = 400
    return show(
        request,
        access,
        "wallets/top_up.html",
        lambda: {
            "form": form,
            "wallet": selectors.wallet(access.organization_id),
            "suggested_pounds": SUGGESTED_POUNDS,
        },
        status,
    )


@never_cache
@require_safe
@reads
def top_up_status(request: HttpRequest, access: Access, topup_id: UUID) -> HttpResponse:
    """How a top-up stands: it refreshes by itself until Stripe has said."""
    topup = selectors.topup(access.organization_id, topup_id)
    if topup is None:
        raise Http404
    is_part = "HX-Request" in request.headers
    return TemplateResponse(
        request,
        "wallets/_top_up_status.html" if is_part else "wallets/top_up_status.html",
        {"access": access, "topup": topup, "wallet": selectors.wallet(access.organization_id)},
    )


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


def _recharge_settings(access: Access) -> dict[str, object]:
    wallet = selectors.wallet(access.organization_id)
    return {
        "enabled": wallet.auto_recharge_enabled,
        "amount_pence": wallet.auto_recharge_amount_pence,
        "threshold_pence": wallet.auto_recharge_threshold_pence,
        "monthly_cap_pence": wallet.auto_recharge_monthly_cap_pence,
    }
