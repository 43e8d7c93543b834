"""What customers enter: amounts in pounds, as people write them."""

import re
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import EmailValidator

from wallets.alerts.recipients import MAX_ADDRESS_LENGTH, MAX_ADDRESSES
from wallets.formats import pounds

# Commas stand between thousands or nowhere: who writes 1,50 for one pound fifty means no 150.
_POUNDS = re.compile(
    r"£?\s*(?P<pounds>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.(?P<pence>[0-9]{1,2}))?"
)
_MOST_PENCE = 10**12


class PoundsField(forms.CharField):
    """An amount in pounds, like 50, 50.00 or £1,250; its value is in pence, and None if empty."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, **options)

    def prepare_value(self, value: Any) -> Any:
        return f"{Decimal(value) / 100:.2f}" if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        if not text:
            return None
        found = _POUNDS.fullmatch(text)
        pence = _pence(found) if found else None
        # What is more than anybody has is no amount either.
        if pence is None or pence > _MOST_PENCE:
            raise forms.ValidationError("Enter an amount in pounds, like 50 or 12.50.")
        return pence


def _pence(found: re.Match[str]) -> int:
    return int(found["pounds"].replace(",", "") + (found["pence"] or "").ljust(2, "0"))


class TopUpForm(forms.Form):
    amount_pence = PoundsField(label="Amount in pounds")
    save_card = forms.BooleanField(
        required=False,
        label="Keep this card for automatic top-ups",
        help_text="Stripe keeps it. It is charged only when automatic top-up is on, and you can "
        "have it forgotten at any time.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        lowest = pounds(settings.WALLET_MIN_TOPUP_PENCE)
        self.fields["amount_pence"].help_text = f"At least {lowest}."


class AutoRechargeForm(forms.Form):
    enabled = forms.BooleanField(required=False, label="Top up automatically")
    threshold_pence = PoundsField(
        label="When less than this is available",
        help_text="In pounds; money held for calls counts as gone.",
    )
    amount_pence = PoundsField(label="Top up by", help_text="In pounds.")
    monthly_cap_pence = PoundsField(
        label="At most in a month", help_text="In pounds; a calendar month (UTC)."
    )

    def __init__(self, data: Any, *, initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)
        # Who turns it off need not say by how much: what is left empty stays as it is.
        if data is not None and not data.get("enabled"):
            for name in ("threshold_pence", "amount_pence", "monthly_cap_pence"):
                self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        return {
            name: self.initial[name] if value is None else value for name, value in given.items()
        }


class AddressesField(forms.CharField):
    """E-mail addresses, one on a line; its value is a list."""

    widget = forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "none"})

    def clean(self, value: Any) -> Any:
        addresses = list(dict.fromkeys(super().clean(value).split()))
        for address in addresses:
            is_email = EmailValidator(f"{address!r} is no e-mail address: write one on each line.")
            is_email(address)
            if len(address) > MAX_ADDRESS_LENGTH:
                raise forms.ValidationError(f"{address[:40]}… is too long for an e-mail address.")
        if len(addresses) > MAX_ADDRESSES:
            raise forms.ValidationError(f"Enter at most {MAX_ADDRESSES} addresses.")
        return addresses


class AlertsForm(forms.Form):
    addresses = AddressesField(
        required=False, max_length=6_000, label="E-mail addresses, one on each line"
    )
