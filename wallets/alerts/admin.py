"""Staff's view of alerts: who gets them, and what became of each."""

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from voxbilling.admin import ReadOnlyAdmin
from wallets.alerts.sending import send_again
from wallets.models import Alert, AlertRecipient, Organization

if TYPE_CHECKING:
    RecipientInline = admin.TabularInline[AlertRecipient, Organization]
else:
    RecipientInline = admin.TabularInline


class AlertRecipients(RecipientInline):
    model = AlertRecipient
    extra = 0
    verbose_name = "recipient of alerts"
    verbose_name_plural = "recipients of alerts (with none, the owners get them)"


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "organization",
        "kind",
        "status",
        "attempts",
        "next_attempt_at",
        "sent_at",
        "sent_to",
    ]
    list_filter = ["status", "kind"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=key", "organization__name", "sent_to"]
    actions = ["send_again"]

    @admin.action(
        description="Send again: those given up, or that nobody was there for",
        permissions=["send_again"],
    )
    def send_again(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        alerts = list(queryset)
        sent = sum(send_again(alert) for alert in alerts)
        self.message_user(
            request,
            f"{sent} of {len(alerts)} alerts will be sent within a minute; the others were sent, "
            "or wait to be.",
            messages.SUCCESS if sent == len(alerts) else messages.WARNING,
        )

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallets.change_alert")
