"""What customers choose: the kind of number, and that they buy it for the price that they saw."""

from typing import Any

from django import forms
from django.conf import settings

from telephony.models import NumberOrder
from telephony.numbering import COUNTRY_NAMES, is_area_code
from wallets.formats import pounds

_COUNTRIES = sorted(COUNTRY_NAMES.items(), key=lambda country: country[1])


class WantedNumberForm(forms.Form):
    """The kind of number that is searched and bought."""

    country = forms.ChoiceField(choices=_COUNTRIES, initial="GB")
    number_type = forms.ChoiceField(
        label="Kind", choices=NumberOrder.NumberType.choices, initial=NumberOrder.NumberType.LOCAL
    )
    area_code = forms.CharField(
        required=False,
        label="Area code",
        validators=[is_area_code],
        help_text="Like 020 for London. Leave it empty for any area.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )

    def order(self) -> NumberOrder:
        """What is wanted, as an order that is not made."""
        return NumberOrder(**self.wanted())

    def wanted(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in ("country", "number_type", "area_code")}


class PurchaseForm(WantedNumberForm):
    """`key` is made with the page, so that whatever sends it again buys once."""

    key = forms.UUIDField()
    price_pence = forms.IntegerField()

    def clean_price_pence(self) -> Any:
        if self.cleaned_data["price_pence"] != settings.PHONE_NUMBER_COST_PENCE:
            price = pounds(settings.PHONE_NUMBER_COST_PENCE)
            raise forms.ValidationError(
                f"The price has changed to {price} a month. Nothing was bought: look at the new "
                "figures, and buy if you agree."
            )
        return self.cleaned_data["price_pence"]
