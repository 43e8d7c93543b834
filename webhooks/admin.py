"""Staff's view of the inbox, with a second chance for what failed."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import HttpRequest

from voxbilling.admin import ReadOnlyAdmin
from wallets.staff.commands import Facts, Refused, StaffCommand
from wallets.staff.pages import ReadOnlyCommands
from webhooks import inbox
from webhooks.models import StripeReading, WebhookEvent
from webhooks.selectors import stuck_events


class EventCommand(StaffCommand):
    permission = "webhooks.change_webhookevent"
    most_at_once = 100

    def lock(self, target_pk: Any) -> WebhookEvent:
        return WebhookEvent.objects.select_for_update(no_key=True).get(pk=target_pk)

    def facts(self, target: Any) -> Facts:
        return {
            "status": target.get_status_display(),
            "attempts": target.attempts,
            "outcome": target.outcome,
            "last_error": target.last_error,
        }


class Replay(EventCommand):
    action = "replay event"
    title = "Replay"
    button = "Process it again"
    icon = "replay"
    explanation = (
        "The message is processed once more, whatever became of it. That is safe: a call is "
        "settled once, a payment is credited once."
    )

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        inbox.make_due(target.pk)

    def follow(self, target_pk: Any) -> str:
        inbox.process(target_pk)
        event = WebhookEvent.objects.get(pk=target_pk)
        return f"Now it is {event.get_status_display()}. {event.outcome or event.last_error}"


class SetEventAside(EventCommand):
    action = "set event aside"
    title = "Set aside"
    button = "Set it aside"
    icon = "task_alt"
    explanation = (
        "It is taken off what is stuck, as a message that nothing is done about. It can still be "
        "replayed until it is deleted with the others of its age."
    )

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return target.status in inbox.GIVEN_UP

    def act(self, target: Any, user: AbstractUser, _key: UUID) -> None:
        if not self.applies_to(target):
            raise Refused(f"It is {target.get_status_display()}: there is nothing to set aside.")
        reason = self.cleaned_data["reason"]
        inbox.set_aside(target.pk, outcome=f"Set aside by {user.get_username()}: {reason}")


class Stuck(admin.SimpleListFilter):
    title = "what it needs"
    parameter_name = "needs"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("stuck", "Failed, unusable, tried again or late")]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[WebhookEvent]
    ) -> QuerySet[WebhookEvent]:
        return queryset & stuck_events() if self.value() == "stuck" else queryset


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyCommands):
    commands = [Replay, SetEventAside]
    latest_columns = ["received_at", "source", "type", "status", "outcome", "last_error"]
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
    list_filter = [Stuck, "status", "source"]
    list_select_related = ["organization"]
    ordering = ["-received_at"]
    search_fields = ["id", "vapi_call_id", "digest", "organization__name__istartswith"]
    search_help_text = "A message's or a call's id, or how an organization's name begins."
    exclude = ["control_url_encrypted"]


@admin.register(StripeReading)
class StripeReadingAdmin(ReadOnlyAdmin):
    list_display = ["after_event_id", "reading_until"]
