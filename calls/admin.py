"""Staff's view of calls, of what Vapi says beside us, and their decision on calls in review."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from calls import upstream
from calls.models import Appointment, Call, UnbilledCall, UpstreamDay, VapiReading
from calls.selectors import BELOW_COST, margins
from calls.staff import BillNow, NobodyPays, SetCallAside, Settle, SettleFromVapi
from voxbilling.admin import ReadOnlyAdmin
from wallets.staff.editing import RecordedAdmin
from wallets.staff.pages import ReadOnlyCommands

if TYPE_CHECKING:
    AppointmentModelForm = forms.ModelForm[Appointment]
else:
    AppointmentModelForm = forms.ModelForm

MARGIN_DAYS = 14


class NeedsAttention(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    _CONDITIONS = {
        "needed": ~Q(attention=""),
        "review": ~Q(review_reason=""),
        "live": Q(ended_at=None, announced_by_vapi=True),
        "asked": Q(reconcile_at__isnull=False, ended_at__isnull=False),
        "unsettled": Q(ended_at__isnull=False, settled_at=None),
        "below_cost": BELOW_COST,
    }

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            ("needed", "Needs attention"),
            ("review", "To review"),
            ("live", "Live"),
            ("asked", "Ended, and Vapi is asked"),
            ("unsettled", "Ended, not settled"),
            ("below_cost", "Charged below cost"),
        ]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        condition = self._CONDITIONS.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


@admin.register(Call)
class CallAdmin(ReadOnlyCommands):
    commands = [Settle, SettleFromVapi, SetCallAside]
    latest_columns = [
        "created_at",
        "call_id",
        "vapi_status",
        "duration_seconds",
        "charged_pence",
        "uncollected_pence",
        "attention",
    ]
    list_display = [
        "call_id",
        "organization",
        "type",
        "authorization",
        "vapi_status",
        "started_at",
        "duration_seconds",
        "charged_pence",
        "uncollected_pence",
        "settled_from",
        "vapi_cost_pence",
        "review_reason",
        "attention",
    ]
    list_filter = [NeedsAttention, "authorization", "settled_from"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = [
        "id",
        "call_id",
        "vapi_call_id",
        "phone_number__number",
        "organization__name__istartswith",
    ]
    search_help_text = "A call's id, our number, or how an organization's name begins."
    exclude = ["control_url_encrypted"]
    change_list_template = "admin/calls/call/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        margin = path("margin/", self.admin_site.admin_view(self.margin), name="calls_call_margin")
        return [margin, *super().get_urls()]

    def initial_of(self, command: Any, _target: Any) -> dict[str, Any]:
        return {"charge": "reported"} if command is Settle else {}

    def margin(self, request: HttpRequest) -> HttpResponse:
        """What calls cost and earned by day and organization."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": f"Margin of the last {MARGIN_DAYS} days",
            "margins": margins(days=MARGIN_DAYS),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/calls/call/margin.html", context)


@admin.register(UnbilledCall)
class UnbilledCallAdmin(ReadOnlyCommands):
    commands = [BillNow, NobodyPays]
    list_display = [
        "vapi_call_id",
        "reason",
        "type",
        "phone_number",
        "vapi_assistant_id",
        "started_at",
        "ended_at",
        "vapi_cost_usd",
        "seen_at",
    ]
    ordering = ["-seen_at"]
    search_fields = ["vapi_call_id", "phone_number", "vapi_assistant_id"]


class Differs(admin.SimpleListFilter):
    title = "comparison"
    parameter_name = "comparison"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("differs", "Differs")]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[UpstreamDay]
    ) -> QuerySet[UpstreamDay]:
        if self.value() != "differs":
            return queryset
        return queryset.exclude(
            vapi_calls=F("our_calls"), vapi_seconds=F("our_seconds"), details=""
        )


@admin.register(UpstreamDay)
class UpstreamDayAdmin(ReadOnlyAdmin):
    list_display = [
        "day",
        "vapi_calls",
        "our_calls",
        "vapi_minutes",
        "our_minutes",
        "differs",
        "compared_at",
    ]
    list_filter = [Differs]
    ordering = ["-day"]

    @admin.display(boolean=True)
    def differs(self, day: UpstreamDay) -> bool:
        return day.differs

    @admin.display(description="Vapi's minutes")
    def vapi_minutes(self, day: UpstreamDay) -> str:
        return upstream.minutes(day.vapi_seconds)

    @admin.display(description="our minutes")
    def our_minutes(self, day: UpstreamDay) -> str:
        return upstream.minutes(day.our_seconds)


@admin.register(VapiReading)
class VapiReadingAdmin(ReadOnlyAdmin):
    list_display = ["scan_from", "scanning_until", "quiet_until", "began_at"]


class AppointmentForm(AppointmentModelForm):
    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or self.cleaned_data
        call, organization = cleaned.get("call"), cleaned.get("organization")
        if call and organization and call.organization_id != organization.pk:
            self.add_error("call", f"This call is {call.organization}'s.")
        return cleaned


@admin.register(Appointment)
class AppointmentAdmin(RecordedAdmin):
    form = AppointmentForm
    list_display = ["id", "organization", "call", "vapi_call_id"]
    list_select_related = ["organization", "call"]
    search_fields = ["id__exact", "vapi_call_id__exact"]
    autocomplete_fields = ["organization", "call"]
