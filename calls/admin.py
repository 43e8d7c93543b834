"""Staff's view of calls, of what Vapi says beside us, and their decision on calls in review."""

import uuid
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from calls import reconciliation, review, upstream
from calls.models import Appointment, Call, UnbilledCall, UpstreamDay, VapiReading
from calls.selectors import BELOW_COST, margins
from voxbilling.admin import ReadOnlyAdmin
from wallets.ledger import MAX_DESCRIPTION_LENGTH

if TYPE_CHECKING:
    AppointmentModelAdmin = admin.ModelAdmin[Appointment]
else:
    AppointmentModelAdmin = admin.ModelAdmin

MARGIN_DAYS = 14
ASKED_BY_HAND = 10


class NeedsAttention(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    _CONDITIONS = {
        "needed": ~Q(attention=""),
        "review": ~Q(review_reason=""),
        "unsettled": Q(ended_at__isnull=False, settled_at=None),
        "below_cost": BELOW_COST,
    }

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            ("needed", "Needs attention"),
            ("review", "To review"),
            ("unsettled", "Ended, not settled"),
            ("below_cost", "Charged below cost"),
        ]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        condition = self._CONDITIONS.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


class SettleForm(forms.Form):
    """What staff charge a call in review for, and why."""

    charge = forms.ChoiceField(
        choices=[
            ("reported", "the reported duration"),
            ("given", "the seconds below"),
            ("nothing", "nothing: it is settled at 0"),
        ],
        widget=forms.RadioSelect,
    )
    duration_seconds = forms.IntegerField(required=False, min_value=1)
    reason = forms.CharField(max_length=MAX_DESCRIPTION_LENGTH)

    def seconds(self, call: Call) -> int:
        """The duration that was chosen. Raises ValueError if there is none."""
        chosen = {
            "reported": call.duration_seconds,
            "given": self.cleaned_data["duration_seconds"],
            "nothing": 0,
        }[self.cleaned_data["charge"]]
        if chosen is None:
            raise ValueError("No such duration is known: enter the seconds to charge for.")
        seconds: int = chosen
        return seconds


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
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
    list_filter = [NeedsAttention, "authorization", "settled_from", "vapi_status"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["=call_id", "=vapi_call_id", "organization__name"]
    exclude = ["control_url_encrypted"]
    change_form_template = "admin/calls/call/change_form.html"
    change_list_template = "admin/calls/call/change_list.html"
    actions = ["settle_from_vapi"]

    @admin.action(
        description="Settle from Vapi: ask for its record now", permissions=["settle_from_vapi"]
    )
    def settle_from_vapi(self, request: HttpRequest, queryset: QuerySet[Call]) -> None:
        if queryset.count() > ASKED_BY_HAND:
            sentence = f"Choose at most {ASKED_BY_HAND} calls: Vapi is asked about one at a time."
            self.message_user(request, sentence, messages.WARNING)
            return
        ids = queryset.filter(announced_by_vapi=True).values_list("vapi_call_id", flat=True)
        for outcome in reconciliation.ask_now([found for found in ids if found]):
            self.message_user(request, outcome)

    def has_settle_from_vapi_permission(self, request: HttpRequest) -> bool:
        return _may_settle(request)

    def get_urls(self) -> list[URLPattern]:
        settle = path(
            "<uuid:call_pk>/settle/",
            self.admin_site.admin_view(self.settle),
            name="calls_call_settle",
        )
        margin = path("margin/", self.admin_site.admin_view(self.margin), name="calls_call_margin")
        return [settle, margin, *super().get_urls()]

    def change_view(self, request: HttpRequest, *args: Any, **more: Any) -> HttpResponse:
        more["extra_context"] = {"may_settle": _may_settle(request)}
        return super().change_view(request, *args, **more)

    def settle(self, request: HttpRequest, call_pk: uuid.UUID) -> HttpResponse:
        """Settle a call that is held for review."""
        if not _may_settle(request):
            raise PermissionDenied
        call = review.waiting().select_related("organization").filter(pk=call_pk).first()
        if call is None:
            self.message_user(request, str(review.NotInReview()), messages.WARNING)
            return redirect("admin:calls_call_changelist")
        form = SettleForm(request.POST or None)
        if form.is_valid():
            try:
                settled = review.settle(
                    call_pk=call.pk,
                    duration_seconds=form.seconds(call),
                    reason=form.cleaned_data["reason"],
                    staff_name=request.user.get_username(),
                )
            except (review.NotInReview, ValueError) as refusal:
                form.add_error(None, str(refusal))
            else:
                self.log_change(request, settled, f"Settled at {settled.review_decision}")
                owed = f", {settled.uncollected_pence}p owed" if settled.uncollected_pence else ""
                done = f"Settled: {settled.charged_pence}p charged{owed}."
                self.message_user(request, done, messages.SUCCESS)
                return redirect(reverse("admin:calls_call_change", args=[call.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Settle {call}",
            "call": call,
            "form": form,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/calls/call/settle.html", context)

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


def _may_settle(request: HttpRequest) -> bool:
    return request.user.has_perm("calls.change_call")


@admin.register(UnbilledCall)
class UnbilledCallAdmin(ReadOnlyAdmin):
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
    search_fields = ["=vapi_call_id", "=phone_number", "=vapi_assistant_id"]
    actions = ["bill"]

    @admin.action(description="Bill now: look for who pays again", permissions=["bill"])
    def bill(self, request: HttpRequest, queryset: QuerySet[UnbilledCall]) -> None:
        for outcome in reconciliation.ask_now(list(queryset.values_list("pk", flat=True))):
            self.message_user(request, outcome)

    def has_bill_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("calls.change_unbilledcall")


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


@admin.register(Appointment)
class AppointmentAdmin(AppointmentModelAdmin):
    list_display = ["id", "organization", "call", "vapi_call_id"]
    list_select_related = ["organization", "call"]
    search_fields = ["=id", "=vapi_call_id"]
    autocomplete_fields = ["organization", "call"]
