"""Staff's view of assistants, phone numbers and orders of numbers."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import HttpRequest

from telephony.models import Assistant, NumberOrder, PhoneNumber
from telephony.releases import release_by_staff
from telephony.rentals import released_unless_paid_by
from telephony.selectors import find_phone_number
from voxbilling.admin import ReadOnlyAdmin
from wallets.models import Organization
from wallets.staff.commands import Facts, Refused, StaffCommand
from wallets.staff.editing import RecordedAdmin
from wallets.staff.pages import Commands

if TYPE_CHECKING:
    AssistantModelForm = forms.ModelForm[Assistant]
    PhoneNumberModelForm = forms.ModelForm[PhoneNumber]
else:
    AssistantModelForm = forms.ModelForm
    PhoneNumberModelForm = forms.ModelForm


class PhoneNumberForm(PhoneNumberModelForm):
    def clean_number(self) -> str:
        number: str = self.cleaned_data["number"]
        in_use = find_phone_number(vapi_phone_number_id=None, number=number)
        if in_use is not None and in_use.pk != self.instance.pk:
            raise forms.ValidationError(f"This number belongs to {in_use.organization}.")
        return number

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or self.cleaned_data
        assistant = cleaned.get("assistant")
        # A bought number's organization is no field of the form.
        organization_id = getattr(cleaned.get("organization"), "pk", self.instance.organization_id)
        if assistant and organization_id and assistant.organization_id != organization_id:
            self.add_error("assistant", f"This assistant belongs to {assistant.organization}.")
        return cleaned


class AssistantForm(AssistantModelForm):
    def clean_organization(self) -> Organization:
        organization: Organization = self.cleaned_data["organization"]
        answers = self.instance.phone_numbers.exclude(organization=organization).first()
        if answers is not None:
            raise forms.ValidationError(
                f"It answers {answers} of {answers.organization}: choose another assistant there "
                "first."
            )
        return organization


@admin.register(Assistant)
class AssistantAdmin(RecordedAdmin):
    form = AssistantForm
    list_display = ["name", "organization", "vapi_assistant_id", "is_squad", "max_duration_seconds"]
    list_select_related = ["organization"]
    search_fields = [
        "name__istartswith",
        "vapi_assistant_id__exact",
        "organization__name__istartswith",
    ]
    autocomplete_fields = ["organization"]


class NumberNeeds(admin.SimpleListFilter):
    title = "what it needs"
    parameter_name = "needs"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            ("money", "Its month is not paid"),
            ("assistant", "No assistant answers it"),
            ("attention", "Cannot be released"),
        ]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[PhoneNumber]
    ) -> QuerySet[PhoneNumber]:
        if self.value() == "money":
            return queryset.filter(status="active", rent_unpaid_since__isnull=False)
        if self.value() == "assistant":
            return queryset.filter(status="active", assistant=None)
        if self.value() == "attention":
            return queryset.exclude(attention="")
        return queryset


class Release(StaffCommand):
    action = "release number"
    title = "Release"
    button = "Release for good"
    permission = "telephony.change_phonenumber"
    icon = "phone_disabled"
    explanation = (
        "The number is given up for good: nobody can promise to get it back. Calls to it end, and "
        "no more rent is charged. Months that were paid are not refunded. One that was bought here "
        "is given back at Vapi and Twilio within a minute; one that was entered by hand is only "
        "detached here."
    )
    most_at_once = 50

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.status == PhoneNumber.Status.ACTIVE)

    def lock(self, target_pk: Any) -> PhoneNumber:
        return PhoneNumber.objects.select_for_update(no_key=True).get(pk=target_pk)

    def facts(self, target: Any) -> Facts:
        return {"status": target.status, "release_reason": target.release_reason}

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        if target.status != PhoneNumber.Status.ACTIVE:
            raise Refused(f"The number is {target.status}: there is nothing to release.")
        release_by_staff(target.pk)


@admin.register(PhoneNumber)
class PhoneNumberAdmin(Commands, RecordedAdmin):
    commands = [Release]
    latest_columns = ["number", "status", "monthly_price_pence", "paid_until", "attention"]
    ordering = ["-created_at"]
    form = PhoneNumberForm
    list_display = [
        "number",
        "organization",
        "assistant",
        "status",
        "monthly_price_pence",
        "paid_until",
        "released_unless_paid_by",
        "attention",
    ]
    list_filter = [NumberNeeds, "status"]
    list_select_related = ["organization", "assistant"]
    search_fields = [
        "number__startswith",
        "vapi_phone_number_id__exact",
        "organization__name__istartswith",
    ]
    autocomplete_fields = ["organization", "assistant"]
    readonly_fields = [
        "status",
        "twilio_sid",
        "monthly_price_pence",
        "purchased_at",
        "months_paid",
        "paid_until",
        "rent_unpaid_since",
        "released_unless_paid_by",
        "release_reason",
        "released_at",
        "attention",
    ]

    @admin.display(description="released unless paid by")
    def released_unless_paid_by(self, number: PhoneNumber) -> Any:
        return released_unless_paid_by(number)

    def get_readonly_fields(
        self, _request: HttpRequest, obj: PhoneNumber | None = None
    ) -> list[str]:
        if obj is not None and (obj.is_bought or obj.status != PhoneNumber.Status.ACTIVE):
            return [*self.readonly_fields, "organization", "number", "vapi_phone_number_id"]
        return self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: PhoneNumber | None = None) -> bool:
        # A bought number that is forgotten here would go on costing money at Twilio.
        is_bought = obj is not None and obj.is_bought
        return not is_bought and super().has_delete_permission(request, obj)


class OrderNeeds(admin.SimpleListFilter):
    title = "progress"
    parameter_name = "progress"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("attention", "Needs attention"), ("open", "Not finished")]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[NumberOrder]
    ) -> QuerySet[NumberOrder]:
        if self.value() == "attention":
            return queryset.exclude(attention="")
        if self.value() == "open":
            return queryset.filter(finished_at=None)
        return queryset


@admin.register(NumberOrder)
class NumberOrderAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "organization",
        "country",
        "number_type",
        "area_code",
        "status",
        "number",
        "price_pence",
        "failure_code",
        "work_attempts",
        "attention",
    ]
    list_filter = [OrderNeeds, "status", "failure_code"]
    list_select_related = ["organization"]
    search_fields = [
        "id",
        "idempotency_key",
        "number",
        "twilio_sid",
        "organization__name__istartswith",
    ]
