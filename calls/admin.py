"""Staff's view of calls."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from calls.models import Appointment, Call
from voxbilling.admin import ReadOnlyAdmin

if TYPE_CHECKING:
    AppointmentModelAdmin = admin.ModelAdmin[Appointment]
else:
    AppointmentModelAdmin = admin.ModelAdmin


class NeedsAttention(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("needed", "Needs attention"), ("unsettled", "Ended, not settled")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        if self.value() == "needed":
            return queryset.exclude(attention="")
        if self.value() == "unsettled":
            return queryset.filter(ended_at__isnull=False, settled_at=None)
        return queryset


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
        "vapi_cost_usd",
        "attention",
    ]
    list_filter = [NeedsAttention, "authorization", "settled_from", "vapi_status"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["=call_id", "=vapi_call_id", "organization__name"]
    exclude = ["control_url_encrypted"]


@admin.register(Appointment)
class AppointmentAdmin(AppointmentModelAdmin):
    list_display = ["id", "organization", "call", "vapi_call_id"]
    list_select_related = ["organization", "call"]
    search_fields = ["=id", "=vapi_call_id"]
    autocomplete_fields = ["organization", "call"]
