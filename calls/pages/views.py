"""An organization's calls: those that go on, all of them by pages, and one."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from calls import selectors
from calls.models import Call
from calls.selectors import CallFilter, CallKey
from telephony.models import PhoneNumber
from voxbilling.api.pages import cursor_or_first
from voxbilling.storable_text import storable
from wallets.access import Access
from wallets.models import Organization
from wallets.pages.base import is_part, reads
from wallets.selectors import wallet

CALLS_PER_PAGE = 50
LIVE_CALLS_SHOWN = 20


class CallFilterForm(forms.Form):
    """Which calls are listed. What is not understood is said, and not applied."""

    status = forms.ChoiceField(
        required=False,
        label="Show",
        choices=[("", "all calls"), (Call.State.LIVE, "live"), (Call.State.SETTLED, "settled")],
    )
    number = forms.ChoiceField(required=False, label="Number")
    date_from = forms.DateField(
        required=False, label="From", widget=forms.DateInput(attrs={"type": "date"})
    )
    date_to = forms.DateField(
        required=False, label="Until", widget=forms.DateInput(attrs={"type": "date"})
    )

    def __init__(self, data: Any, organization: Organization) -> None:
        super().__init__(data)
        self.zone = ZoneInfo(organization.time_zone)
        numbers = PhoneNumber.objects.filter(organization=organization)
        of_organization = sorted(set(numbers.values_list("number", flat=True)))
        self.fields["number"].choices = [  # type: ignore[attr-defined]
            ("", "every number"),
            *((number, number) for number in of_organization),
        ]

    def wanted(self) -> CallFilter:
        self.full_clean()
        given = self.cleaned_data
        return CallFilter(
            state=given.get("status") or None,
            phone_number=given.get("number") or None,
            date_from=given.get("date_from"),
            date_to=given.get("date_to"),
            zone=self.zone,
        )


@never_cache
@require_safe
@reads
def calls(request: HttpRequest, access: Access) -> HttpResponse:
    """Every call, newest first, by pages; those of a number, of some days, of a state."""
    organization = wallet(access.organization_id)
    form = CallFilterForm(request.GET, organization)
    page = selectors.calls_page(
        access.organization_id,
        limit=CALLS_PER_PAGE,
        cursor=cursor_or_first(request.GET.get("cursor", ""), CallKey.read),
        wanted=form.wanted(),
    )
    filtered = request.GET.copy()
    filtered.pop("cursor", None)
    return TemplateResponse(
        request,
        "calls/calls.html",
        {
            "access": access,
            "wallet": organization,
            "form": form,
            "page": page,
            "is_filtered": any(filtered.values()),
            "query": filtered.urlencode(),
        },
    )


@never_cache
@require_safe
@reads
def live(request: HttpRequest, access: Access) -> HttpResponse:
    """The calls that go on: the part that refreshes, or the page around it."""
    organization = wallet(access.organization_id)
    found = selectors.live_calls(organization, limit=LIVE_CALLS_SHOWN + 1)
    return TemplateResponse(
        request,
        "calls/_live.html" if is_part(request) else "calls/live.html",
        {
            "access": access,
            "wallet": organization,
            "live_calls": found[:LIVE_CALLS_SHOWN],
            "are_more": len(found) > LIVE_CALLS_SHOWN,
        },
    )


@never_cache
@require_safe
@reads
def call(request: HttpRequest, access: Access, call_pk: UUID) -> HttpResponse:
    """One call, what it cost, and the entry that charged it."""
    listed = selectors.find_listed_call(access.organization_id, call_pk)
    if listed is None:
        raise Http404
    return TemplateResponse(
        request,
        "calls/call.html",
        {"access": access, "wallet": wallet(access.organization_id), "listed": listed},
    )


@never_cache
@require_safe
@reads
def find(request: HttpRequest, access: Access) -> HttpResponse:
    """The page of the call that has an id, which is how other pages know calls."""
    found = selectors.find_call_by_id(access.organization_id, storable(request.GET.get("id", "")))
    if found is None:
        raise Http404
    return redirect("call", found.pk)
