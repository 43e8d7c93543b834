"""The wallet, its entries, and topping it up."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from voxbilling.api.pages import cursor_or_first
from wallets import selectors, statements
from wallets.access import Access
from wallets.models import CreditTransaction, Organization
from wallets.pages import charts
from wallets.pages.base import is_part, reads, show, spends
from wallets.pages.forms import TopUpForm
from wallets.payments import stripe_client, topups

LATEST_ENTRIES = 10
CHART_DAYS = 30
ENTRIES_PER_PAGE = 50
# In pounds, to choose from.
SUGGESTED_POUNDS = (25, 50, 100, 250)
_MOST_PENCE_ASKED_FOR = 10**7


@never_cache
@require_safe
@reads
def wallet(request: HttpRequest, access: Access) -> HttpResponse:
    """What is in the wallet, as it is now: the part that refreshes, or the page around it."""
    organization = selectors.wallet(access.organization_id)
    state = _state_of(organization)
    if is_part(request) and request.GET.get("state") == state:
        # Nothing is swapped, and nobody's screen reader begins anew.
        return HttpResponse(status=204)
    page = selectors.entries_page(access.organization_id, limit=LATEST_ENTRIES, cursor=None)
    context = {"access": access, "wallet": organization, "state": state, "entries": page.rows}
    if is_part(request):
        return TemplateResponse(request, "wallets/_figures.html", context | {"is_part": True})
    days = statements.spend_by_day(organization, days=CHART_DAYS)
    context["chart"] = charts.bars_of(days)
    return TemplateResponse(request, "wallets/wallet.html", context)


def _state_of(organization: Organization) -> str:
    """What changes with whatever the part that refreshes shows."""
    return ".".join(
        str(figure)
        for figure in (
            organization.last_sequence,
            organization.reserved_pence,
            organization.debt_limit_pence,
            organization.low_balance_pence,
            organization.rate_pence_per_minute,
            organization.billing_increment_seconds,
            organization.status,
        )
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
        cursor=cursor_or_first(request.GET.get("cursor", ""), int),
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


@never_cache
@require_safe
@reads
def entry(request: HttpRequest, access: Access, entry_id: UUID) -> HttpResponse:
    """One entry: a page, or the part that another page shows of it."""
    found = selectors.entry(access.organization_id, entry_id)
    if found is None:
        raise Http404
    return TemplateResponse(
        request,
        "wallets/_entry.html" if is_part(request) else "wallets/entry.html",
        {"access": access, "entry": found, "wallet": selectors.wallet(access.organization_id)},
    )


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
    return TemplateResponse(
        request,
        "wallets/_top_up_status.html" if is_part(request) else "wallets/top_up_status.html",
        {"access": access, "topup": topup, "wallet": selectors.wallet(access.organization_id)},
    )
