"""Staff's view of wallets. Money moves through the ledger only; entries and holds are read-only."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html_join

from voxbilling.admin import InlineFormSet, ReadOnlyAdmin
from voxbilling.valkey import UNREACHABLE
from wallets import checking
from wallets.alerts.admin import AlertRecipients
from wallets.ledger.reservations import find_reservations
from wallets.models import (
    CreditReservation,
    CreditTransaction,
    Membership,
    Organization,
    StaffAction,
)
from wallets.payments import admin as _payments  # noqa: F401 - registers its pages
from wallets.staff.editing import RecordedAdmin, RecordedInline
from wallets.staff.latest import latest
from wallets.staff.money import (
    Adjust,
    Recover,
    ReleaseHold,
    Resume,
    SetDebtLimit,
    Suspend,
    WriteOff,
)
from wallets.staff.pages import Commands, ReadOnlyCommands, actions
from wallets.staff.showing import changes, in_words, label


class WalletNeeds(admin.SimpleListFilter):
    title = "what it needs"
    parameter_name = "needs"

    _CONDITIONS = {
        "owes": Q(owed_pence__gt=0),
        "low": Q(status="active", low_balance_pence__gt=F("balance_pence") - F("reserved_pence")),
    }

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("owes", "Owes something"), ("low", "Its balance is low")]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[Organization]
    ) -> QuerySet[Organization]:
        return queryset.filter(self._CONDITIONS.get(self.value() or "", Q()))


class MembershipFormSet(InlineFormSet):
    """Django does not look for what somebody else added since the page was opened."""

    def clean(self) -> None:
        kept = [row for row in self.forms if row not in self.deleted_forms]
        others = Membership.objects.filter(organization=self.instance.pk).exclude(
            pk__in=[row.instance.pk for row in self.forms if row.instance.pk]
        )
        seen = set(others.values_list("user", flat=True))
        for row in kept:
            user = row.cleaned_data.get("user")
            if user and user.pk in seen:
                row.add_error("user", f"{user} belongs to it already.")
            elif user:
                seen.add(user.pk)
        if not any(row.errors for row in kept):
            super().clean()


class Memberships(RecordedInline):
    model = Membership
    formset = MembershipFormSet
    autocomplete_fields = ["user"]


@admin.register(Organization)
class OrganizationAdmin(Commands, RecordedAdmin):
    commands = [Adjust, SetDebtLimit, Recover, WriteOff, Suspend, Resume]
    list_display = [
        "name",
        "status",
        "balance_pence",
        "reserved_pence",
        "effective_balance_pence",
        "debt_limit_pence",
        "owed_pence",
    ]
    list_filter = ["status", WalletNeeds]
    search_fields = ["name__istartswith", "=id"]
    fields = [
        "name",
        "id",
        "status",
        "balance_pence",
        "reserved_pence",
        "effective_balance_pence",
        "debt_limit_pence",
        "owed_pence",
        "rate_pence_per_minute",
        "billing_increment_seconds",
        "charges_voicemail",
        "recovers_owed_from_topups",
        "low_balance_pence",
        "time_zone",
        "created_at",
    ]
    readonly_fields = [
        "id",
        "status",
        "balance_pence",
        "reserved_pence",
        "effective_balance_pence",
        "debt_limit_pence",
        "owed_pence",
        "created_at",
    ]
    inlines = [Memberships, AlertRecipients]
    change_form_template = "admin/staff/organization.html"

    def has_delete_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "ledger-check/",
            self.admin_site.admin_view(self.check_ledger),
            name="wallets_organization_ledger_check",
        )
        return [page, *super().get_urls()]

    def check_ledger(self, request: HttpRequest) -> HttpResponse:
        """When the ledger was last checked, and, when asked, whether it adds up now."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Ledger check",
            "differences": checking.check() if request.method == "POST" else None,
            "opts": self.opts,
        }
        try:
            context["last"] = checking.last_check()
        except UNREACHABLE:
            context["is_forgotten"] = True
        return TemplateResponse(request, "admin/staff/ledger_check.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = extra_context or {}
        organization = self.find(request, object_id) if request.method == "GET" else None
        if organization is not None and self.has_view_permission(request, organization):
            context["latest"] = latest(request, self.admin_site, organization)
        return super().change_view(request, object_id, form_url, context)

    def initial_of(self, command: Any, target: Any) -> dict[str, Any]:
        if command is SetDebtLimit:
            return {"debt_limit_pence": target.debt_limit_pence}
        return {"amount_pence": target.owed_pence} if issubclass(command, Recover) else {}


@admin.register(CreditTransaction)
class CreditTransactionAdmin(ReadOnlyAdmin):
    latest_columns = [
        "created_at",
        "type",
        "direction",
        "amount_pence",
        "balance_after_pence",
        "owed_after_pence",
        "description",
    ]
    list_display = [
        "organization",
        "sequence",
        "type",
        "direction",
        "amount_pence",
        "balance_after_pence",
        "owed_after_pence",
        "description",
        "created_at",
    ]
    list_filter = ["type", "direction"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["id", "organization__name__istartswith"]
    search_help_text = "An entry's id, a call's id, or how an organization's name begins."

    def conditions(self, term: str) -> list[Q]:
        of_call = [hold.pk for hold in find_reservations(term, vapi_call_id=term)]
        # One type at a time, since each has an index of its own.
        return [
            *super().conditions(term),
            Q(reservation__in=of_call, type=CreditTransaction.Type.CALL_DEDUCTION),
            Q(reservation__in=of_call, type=CreditTransaction.Type.ADJUSTMENT),
        ]


@admin.register(CreditReservation)
class CreditReservationAdmin(ReadOnlyCommands):
    commands = [ReleaseHold]
    latest_columns = ["created_at", "call_id", "status", "reserved_pence", "expires_at"]
    list_display = [
        "organization",
        "call_id",
        "status",
        "reserved_pence",
        "committed_pence",
        "released_pence",
        "created_at",
        "expires_at",
    ]
    list_filter = ["status"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["id", "call_id", "vapi_call_id", "organization__name__istartswith"]
    search_help_text = "A hold's or a call's id, or how an organization's name begins."


class Action(admin.SimpleListFilter):
    title = "action"
    parameter_name = "action"

    def lookups(self, _request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(actions(model_admin.admin_site))]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[StaffAction]
    ) -> QuerySet[StaffAction]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(StaffAction)
class StaffActionAdmin(ReadOnlyAdmin):
    latest_columns = ["at", "username", "action", "target_name", "reason"]
    list_display = ["at", "username", "action", "organization", "target_name", "reason"]
    list_filter = [Action, "at"]
    list_select_related = ["organization"]
    ordering = ["-at"]
    search_fields = ["id", "target_id", "user__username", "organization__name__istartswith"]
    search_help_text = "A user's name, how an organization's name begins, or a row's id."
    fields = [
        "at",
        "username",
        "action",
        "organization",
        "target_kind",
        "target_name",
        "target_id",
        "reason",
        "what_was_asked",
        "what_changed",
    ]
    readonly_fields = ["what_was_asked", "what_changed"]

    @admin.display(description="asked for")
    def what_was_asked(self, action: StaffAction) -> str:
        asked = [f"{label(name)}: {in_words(name, value)}" for name, value in action.asked.items()]
        return "; ".join(asked) or "–"

    @admin.display(description="before → after")
    def what_changed(self, action: StaffAction) -> str:
        return format_html_join(
            "", "<p>{}</p>", [(str(each),) for each in changes(action.before, action.after)]
        )
