"""Staff's view of wallets. Money moves through the ledger only; entries and holds are read-only."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from voxbilling.admin import ReadOnlyAdmin
from wallets import ledger
from wallets.alerts.admin import AlertRecipients
from wallets.models import CreditReservation, CreditTransaction, Membership, Organization
from wallets.payments import admin as _payments  # noqa: F401 - registers its pages

if TYPE_CHECKING:
    OrganizationModelAdmin = admin.ModelAdmin[Organization]
    MembershipInline = admin.TabularInline[Membership, Organization]
else:
    OrganizationModelAdmin = admin.ModelAdmin
    MembershipInline = admin.TabularInline


class AdjustmentForm(forms.Form):
    """A correction by hand. The key makes a form that is sent twice count once."""

    change_pence = forms.IntegerField(
        min_value=-ledger.MAX_AMOUNT_PENCE,
        max_value=ledger.MAX_AMOUNT_PENCE,
        help_text="In pence. Above 0 credits the wallet, below 0 debits it.",
    )
    reason = forms.CharField(max_length=ledger.MAX_DESCRIPTION_LENGTH)
    idempotency_key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    def clean_change_pence(self) -> int:
        change_pence: int = self.cleaned_data["change_pence"]
        if change_pence == 0:
            raise forms.ValidationError("Enter an amount other than 0.")
        return change_pence

    def apply(self, organization: Organization, staff_id: int | None) -> str:
        posting = ledger.adjust_balance(
            organization_id=organization.pk,
            change_pence=self.cleaned_data["change_pence"],
            reason=self.cleaned_data["reason"],
            idempotency_key=str(self.cleaned_data["idempotency_key"]),
            created_by_id=staff_id,
        )
        done = "had been adjusted before" if posting.duplicate else "was adjusted"
        return (
            f"The balance {done}: {posting.balance_before_pence}p before, "
            f"{posting.balance_after_pence}p after."
        )


class DebtLimitForm(forms.Form):
    """How far below 0 calls may take the effective balance."""

    debt_limit_pence = forms.IntegerField(min_value=0, max_value=ledger.MAX_AMOUNT_PENCE)

    def apply(self, organization: Organization, _staff_id: int | None) -> str:
        ledger.set_debt_limit(
            organization_id=organization.pk,
            debt_limit_pence=self.cleaned_data["debt_limit_pence"],
        )
        return f"The debt limit is now {self.cleaned_data['debt_limit_pence']}p."


class OwedForm(forms.Form):
    """How much of what is owed staff deal with, and why. The key makes it count once."""

    amount_pence = forms.IntegerField(min_value=1, max_value=ledger.MAX_AMOUNT_PENCE)
    reason = forms.CharField(max_length=ledger.MAX_DESCRIPTION_LENGTH)
    idempotency_key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    def asked(self, organization: Organization, staff_id: int | None) -> dict[str, Any]:
        return {
            "organization_id": organization.pk,
            "amount_pence": self.cleaned_data["amount_pence"],
            "idempotency_key": str(self.cleaned_data["idempotency_key"]),
            "created_by_id": staff_id,
        }


class WriteOffForm(OwedForm):
    """Owed money that is given up."""

    def apply(self, organization: Organization, staff_id: int | None) -> str:
        reason = self.cleaned_data["reason"]
        posting = ledger.write_off_owed(reason=reason, **self.asked(organization, staff_id))
        return f"{-posting.owed_change_pence}p was written off."


class RecoveryForm(OwedForm):
    """Owed money that is taken from the effective balance."""

    def apply(self, organization: Organization, staff_id: int | None) -> str:
        reason = self.cleaned_data["reason"]
        posting = ledger.recover_owed(description=reason, **self.asked(organization, staff_id))
        return f"{posting.amount_pence}p was recovered."


MoneyForm = AdjustmentForm | DebtLimitForm | WriteOffForm | RecoveryForm


class Owes(admin.SimpleListFilter):
    title = "what is owed"
    parameter_name = "owes"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("something", "Owes something")]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[Organization]
    ) -> QuerySet[Organization]:
        return queryset.filter(owed_pence__gt=0) if self.value() == "something" else queryset


class Memberships(MembershipInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Organization)
class OrganizationAdmin(OrganizationModelAdmin):
    list_display = [
        "name",
        "status",
        "balance_pence",
        "reserved_pence",
        "effective_balance_pence",
        "debt_limit_pence",
        "owed_pence",
    ]
    list_filter = ["status", Owes]
    search_fields = ["name", "id"]
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
    actions = ["suspend", "resume"]
    change_form_template = "admin/wallets/organization/change_form.html"

    def has_delete_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        return False

    def save_model(
        self,
        _request: HttpRequest,
        obj: Organization,
        form: forms.Form,
        change: bool,  # noqa: FBT001
    ) -> None:
        # Only what the form changed: the rest of the object is as old as the page, and calls
        # have moved the balance since.
        if not change:
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, tuple[type[MoneyForm], str]] = {
            "adjust": (AdjustmentForm, "Adjust the balance"),
            "debt-limit": (DebtLimitForm, "Set the debt limit"),
            "recover-owed": (RecoveryForm, "Recover what is owed now"),
            "write-off-owed": (WriteOffForm, "Write off what is owed"),
        }
        return [
            path(
                f"<uuid:organization_id>/{name}/",
                self.admin_site.admin_view(self._page(form_class, title)),
                name=f"wallets_organization_{name.replace('-', '_')}",
            )
            for name, (form_class, title) in pages.items()
        ] + super().get_urls()

    def _page(self, form_class: type[MoneyForm], title: str) -> Callable[..., HttpResponse]:
        def page(request: HttpRequest, organization_id: uuid.UUID) -> HttpResponse:
            organization = self.get_object(request, str(organization_id))
            if organization is None:
                return redirect("admin:wallets_organization_changelist")
            if not self.has_change_permission(request, organization):
                raise PermissionDenied
            form = form_class(request.POST or None)
            if form.is_valid():
                try:
                    done = form.apply(organization, request.user.pk)
                except (ledger.LedgerError, ValueError) as refusal:
                    form.add_error(None, str(refusal))
                else:
                    self.message_user(request, done, messages.SUCCESS)
                    return redirect(
                        reverse("admin:wallets_organization_change", args=[organization.pk])
                    )
            context = {
                **self.admin_site.each_context(request),
                "title": f"{title}: {organization}",
                "organization": organization,
                "form": form,
                "opts": self.opts,
            }
            return TemplateResponse(request, "admin/wallets/organization/form.html", context)

        return page

    @admin.action(description="Suspend: no new calls, extensions or assets", permissions=["change"])
    def suspend(self, _request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        for organization in queryset.order_by("pk"):
            ledger.suspend_organization(organization_id=organization.pk)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, _request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        for organization in queryset.order_by("pk"):
            ledger.resume_organization(organization_id=organization.pk)


@admin.register(CreditTransaction)
class CreditTransactionAdmin(ReadOnlyAdmin):
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
    search_fields = ["=id", "=idempotency_key", "organization__name", "=reservation__call_id"]


@admin.register(CreditReservation)
class CreditReservationAdmin(ReadOnlyAdmin):
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
    search_fields = ["=id", "=call_id", "=vapi_call_id", "organization__name"]
