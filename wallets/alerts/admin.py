"""Staff's view of alerts: who gets them, and what became of each."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import HttpRequest

from wallets.alerts.sending import send_again
from wallets.models import Alert, AlertRecipient
from wallets.staff.commands import Facts, Refused, StaffCommand
from wallets.staff.editing import RecordedInline
from wallets.staff.pages import ReadOnlyCommands


class AlertRecipients(RecordedInline):
    model = AlertRecipient
    verbose_name = "recipient of alerts"
    verbose_name_plural = "recipients of alerts (with none, the owners get them)"


class SendAgain(StaffCommand):
    action = "send alert again"
    title = "Send again"
    button = "Send it again"
    permission = "wallets.change_alert"
    icon = "forward_to_inbox"
    explanation = "Alerts that were given up, or that nobody was there for, are sent in a minute."
    most_at_once = 50

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return target.status in {Alert.Status.FAILED, Alert.Status.NOBODY}

    def lock(self, target_pk: Any) -> Alert:
        return Alert.objects.select_for_update(no_key=True).get(pk=target_pk)

    def facts(self, target: Any) -> Facts:
        return {"status": target.get_status_display(), "attempts": target.attempts}

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        if not send_again(target):
            raise Refused("It was sent, or waits to be.")


class NotSent(admin.SimpleListFilter):
    title = "what it needs"
    parameter_name = "needs"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("unsent", "Could not be sent")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        unsent = [Alert.Status.FAILED, Alert.Status.NOBODY]
        return queryset.filter(status__in=unsent) if self.value() == "unsent" else queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyCommands):
    commands = [SendAgain]
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
    list_filter = [NotSent, "status", "kind"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["id", "organization__name__istartswith"]
