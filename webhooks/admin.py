"""Staff's view of the inbox, with a second chance for what failed."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from voxbilling.admin import ReadOnlyAdmin
from webhooks import inbox
from webhooks.models import StripeReading, WebhookEvent


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = [
        "received_at",
        "source",
        "type",
        "vapi_call_id",
        "organization",
        "status",
        "outcome",
        "attempts",
    ]
    list_filter = ["status", "source", "type"]
    list_select_related = ["organization"]
    ordering = ["-received_at"]
    search_fields = ["=id", "=vapi_call_id", "=digest"]
    exclude = ["control_url_encrypted"]
    actions = ["replay"]

    @admin.action(description="Replay: process again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> None:
        event_ids = list(queryset.order_by("received_at").values_list("pk", flat=True))
        for event_id in event_ids:
            inbox.replay(event_id)
        still_failing = WebhookEvent.objects.filter(pk__in=event_ids).exclude(
            status__in=[WebhookEvent.Status.PROCESSED, WebhookEvent.Status.UNUSABLE]
        )
        self.message_user(
            request,
            f"{len(event_ids)} messages processed again, {still_failing.count()} of them fail.",
            messages.WARNING if still_failing else messages.SUCCESS,
        )

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_webhookevent")


@admin.register(StripeReading)
class StripeReadingAdmin(ReadOnlyAdmin):
    list_display = ["after_event_id", "reading_until"]
