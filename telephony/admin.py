"""Staff's view of assistants and phone numbers."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin

from telephony.models import Assistant, PhoneNumber

if TYPE_CHECKING:
    AssistantModelAdmin = admin.ModelAdmin[Assistant]
    PhoneNumberModelAdmin = admin.ModelAdmin[PhoneNumber]
    PhoneNumberModelForm = forms.ModelForm[PhoneNumber]
else:
    AssistantModelAdmin = admin.ModelAdmin
    PhoneNumberModelAdmin = admin.ModelAdmin
    PhoneNumberModelForm = forms.ModelForm


class PhoneNumberForm(PhoneNumberModelForm):
    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or self.cleaned_data
        assistant, organization = cleaned.get("assistant"), cleaned.get("organization")
        if assistant and organization and assistant.organization_id != organization.pk:
            self.add_error("assistant", f"This assistant belongs to {assistant.organization}.")
        return cleaned


@admin.register(Assistant)
class AssistantAdmin(AssistantModelAdmin):
    list_display = ["name", "organization", "vapi_assistant_id", "max_duration_seconds"]
    list_select_related = ["organization"]
    search_fields = ["name", "vapi_assistant_id", "organization__name"]
    autocomplete_fields = ["organization"]


@admin.register(PhoneNumber)
class PhoneNumberAdmin(PhoneNumberModelAdmin):
    form = PhoneNumberForm
    list_display = ["number", "organization", "assistant", "vapi_phone_number_id"]
    list_select_related = ["organization", "assistant"]
    search_fields = ["number", "vapi_phone_number_id", "organization__name"]
    autocomplete_fields = ["organization", "assistant"]
