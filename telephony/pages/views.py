"""The organization's numbers: what there is, searching and buying more, and giving them back.

What asks a phone company runs outside the tenant scope, which would be a transaction that waits;
each page is rendered in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4
from zlib import crc32

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRedirect
from rest_framework.exceptions import Throttled

from telephony import (
    failures,
    provisioning,
    purchasing,
    releases,
    rentals,
    selectors,
    twilio_client,
)
from telephony.models import NumberOrder, PhoneNumber
from telephony.numbering import COUNTRY_NAMES
from telephony.pages.forms import PurchaseForm, WantedNumberForm
from telephony.providers import ProviderError
from voxbilling.api import throttles
from voxbilling.api.pages import cursor_or_first
from wallets import ledger
from wallets.access import Access
from wallets.formats import pounds
from wallets.pages.base import is_part, reads, show, spends
from wallets.selectors import wallet

NUMBERS_PER_PAGE = 50
OPEN_ORDERS_SHOWN = 20
NUMBERS_FOUND = 12


@never_cache
@require_safe
@reads
def numbers(request: HttpRequest, access: Access) -> HttpResponse:
    """The numbers, newest first, and orders; it refreshes while anything is at work."""
    page = selectors.numbers_page(
        access.organization_id,
        limit=NUMBERS_PER_PAGE,
        cursor=cursor_or_first(request.GET.get("cursor", ""), selectors.read_number_key),
    )
    orders = selectors.open_orders(access.organization_id, limit=OPEN_ORDERS_SHOWN)
    state = _state_of(page.rows, orders)
    if is_part(request) and request.GET.get("state") == state:
        return HttpResponse(status=204)
    releasing = PhoneNumber.Status.RELEASING
    return TemplateResponse(
        request,
        "telephony/_numbers.html" if is_part(request) else "telephony/numbers.html",
        {
            "access": access,
            "wallet": wallet(access.organization_id),
            "page": page,
            "cursor": request.GET.get("cursor", ""),
            "state": state,
            "rows": [(each, rentals.released_unless_paid_by(each)) for each in page.rows],
            "orders": orders,
            "is_at_work": bool(orders) or any(each.status == releasing for each in page.rows),
        },
    )


def _state_of(numbers: Sequence[PhoneNumber], orders: Sequence[NumberOrder]) -> str:
    """Another when anything has moved that a page of numbers waits for."""
    moving = [f"{each.pk} {each.status}" for each in numbers]
    moving += [f"{each.pk} {each.status}" for each in orders]
    return str(crc32("\n".join(moving).encode()))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a page says of what was asked: a sentence if it was not done, and the status."""

    problem: str = ""
    status: int = 200


@never_cache
@require_safe
@spends
def search(request: HttpRequest, access: Access) -> HttpResponse:
    """Numbers of a kind that are for sale, and what they cost."""
    form = WantedNumberForm(request.GET or None)
    answer, found = _Answer(), None
    if form.is_valid():
        answer, found = _search(request, access, form)
    elif form.is_bound:
        answer = _Answer(status=400)
    wanted = form.order() if found is not None else None
    return show(
        request,
        access,
        "telephony/_found.html" if is_part(request) else "telephony/search.html",
        lambda: {
            "wallet": wallet(access.organization_id),
            "form": form,
            "problem": answer.problem,
            "found": found,
            "wanted": wanted,
            "country_name": COUNTRY_NAMES[wanted.country] if wanted else "",
            "query": request.GET.urlencode(),
            "price_pence": settings.PHONE_NUMBER_COST_PENCE,
        },
        # What htmx puts into a page has to be a success.
        200 if is_part(request) else answer.status,
    )


def _search(
    request: HttpRequest, access: Access, form: WantedNumberForm
) -> tuple[_Answer, list[twilio_client.AvailableNumber] | None]:
    """What Twilio would sell us now; None if it could not be asked."""
    try:
        _count(request, access)
        offered = twilio_client.search_numbers(**form.wanted(), limit=NUMBERS_FOUND)
    except Throttled as refusal:
        return _too_many(refusal), None
    except ProviderError:
        sentence = "Numbers cannot be searched at the moment: try again in a few minutes."
        return _Answer(problem=sentence, status=503), None
    buyable = purchasing.buyable(form.order(), offered)
    if buyable:
        return _Answer(), buyable
    failure = failures.address_required if offered else failures.none_available
    return _Answer(problem=failure(form.order()).reason), []


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@spends
def buy(request: HttpRequest, access: Access) -> HttpResponse:
    """What a number costs, and what is left then; buying it leads to its order."""
    answer = _Answer()
    form: WantedNumberForm
    if request.method == "POST":
        form = PurchaseForm(request.POST)
        if form.is_valid():
            answer = _buy(request, access, form)
            if not answer.problem:
                key = str(form.cleaned_data["key"])
                order = selectors.order_of_key(access.organization_id, key)
                return _lead_to(request, reverse("number-order", args=[order.pk]))
        elif list(form.errors) == ["price_pence"]:
            answer = _Answer(problem=str(form.errors["price_pence"][0]), status=409)
        key = request.POST.get("key", "")
    else:
        form = WantedNumberForm(request.GET)
        key = str(uuid4())
    if not form.is_valid() and not answer.problem:
        return _lead_to(request, reverse("search-numbers"))
    price_pence = settings.PHONE_NUMBER_COST_PENCE

    def context() -> dict[str, object]:
        organization = wallet(access.organization_id)
        left_pence = organization.effective_balance_pence - price_pence
        recovers = organization.recovers_owed_from_topups
        paid_first_pence = organization.owed_pence if recovers else 0
        return {
            "wallet": organization,
            "wanted": form.order(),
            "country_name": COUNTRY_NAMES[form.order().country],
            "key": key,
            "problem": answer.problem,
            "price_pence": price_pence,
            "left_pence": left_pence,
            "shortfall_pence": max(0, -left_pence),
            "top_up_pence": max(paid_first_pence - left_pence, settings.WALLET_MIN_TOPUP_PENCE),
            "next_month_at": rentals.start_of_month(timezone.now(), 1),
            "grace_days": rentals.GRACE.days,
        }

    template = "telephony/_buy.html" if is_part(request) else "telephony/buy.html"
    return show(request, access, template, context, 200 if is_part(request) else answer.status)


def _buy(request: HttpRequest, access: Access, form: WantedNumberForm) -> _Answer:
    """Buy the number, or say why nothing was; what came of an order, its own page says."""
    try:
        _count(request, access)
        provisioning.provision(
            organization_id=access.organization_id,
            **form.wanted(),
            idempotency_key=str(form.cleaned_data["key"]),
        )
    except Throttled as refusal:
        return _too_many(refusal)
    except ledger.InsufficientBalance as refusal:
        missing = pounds(refusal.shortfall_pence)
        return _Answer(problem=f"Nothing was bought: {missing} is missing.", status=402)
    except ledger.OrganizationSuspended:
        sentence = "Nothing was bought: this account is suspended. Please talk to us."
        return _Answer(problem=sentence, status=403)
    except ledger.IdempotencyConflict:
        sentence = "This page has bought a number of another kind already: search anew."
        return _Answer(problem=sentence, status=422)
    except (provisioning.ProvisioningInProgress, provisioning.ProvisioningFailed):
        pass
    return _Answer()


@never_cache
@require_safe
@reads
def order(request: HttpRequest, access: Access, order_id: UUID) -> HttpResponse:
    """How a purchase stands; it refreshes by itself until there is a number or a refund."""
    found = selectors.customers_order(access.organization_id, order_id)
    if found is None:
        raise Http404
    if is_part(request) and request.GET.get("state") == found.status:
        return HttpResponse(status=204)
    return TemplateResponse(
        request,
        "telephony/_order.html" if is_part(request) else "telephony/order.html",
        {
            "access": access,
            "wallet": wallet(access.organization_id),
            "order": found,
            "is_cancelling": found.status == NumberOrder.Status.CANCELLING,
        },
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@spends
def release(request: HttpRequest, access: Access, number_id: UUID) -> HttpResponse:
    """What giving a number back means; doing it leads to the list."""
    answer = _Answer()
    if request.method == "POST":
        answer = _release(request, access, number_id)
        if not answer.problem:
            return _lead_to(request, reverse("numbers"))

    def context() -> dict[str, object]:
        number = selectors.customers_number(access.organization_id, number_id)
        if number is None:
            raise Http404
        return {
            "wallet": wallet(access.organization_id),
            "number": number,
            "problem": answer.problem,
        }

    template = "telephony/_release.html" if is_part(request) else "telephony/release.html"
    return show(request, access, template, context, 200 if is_part(request) else answer.status)


def _release(request: HttpRequest, access: Access, number_id: UUID) -> _Answer:
    try:
        _count(request, access)
        number = releases.release_number(
            organization_id=access.organization_id, phone_number_id=number_id
        )
    except Throttled as refusal:
        return _too_many(refusal)
    except PhoneNumber.DoesNotExist:
        raise Http404 from None
    except releases.EnteredByStaff as refusal:
        return _Answer(problem=str(refusal), status=409)
    except releases.ReleaseInProgress:
        messages.success(request, "The number is being released, and costs nothing any more.")
    else:
        messages.success(request, f"{number} was released.")
    return _Answer()


def _count(request: HttpRequest, access: Access) -> None:
    """Count one question to a phone company, as the API does. Raises Throttled."""
    throttles.count(throttles.PER_USER, str(request.user.pk))
    throttles.count(throttles.PER_ORGANIZATION, str(access.organization_id))


def _too_many(refusal: Throttled) -> _Answer:
    seconds = refusal.wait  # type: ignore[attr-defined]
    sentence = f"Too many requests: try again in {seconds} seconds."
    return _Answer(problem=sentence, status=429)


def _lead_to(request: HttpRequest, address: str) -> HttpResponse:
    """Lead to a whole page, also if only a part was asked for."""
    return HttpResponseClientRedirect(address) if is_part(request) else redirect(address)
