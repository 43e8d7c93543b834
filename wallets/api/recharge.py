"""The settings of automatic recharge over HTTP; the rules are in `wallets.payments`."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from voxbilling.api.errors import Problem
from voxbilling.api.fields import WholeNumberField
from voxbilling.api.parsers import body_of
from voxbilling.api.schema import documented
from wallets import selectors
from wallets.api.base import OrganizationView, reads, spends
from wallets.models import Organization
from wallets.payments.recharge_settings import NoCardKept, SettingsNotAllowed, configure

_NO_CARD = "No card is kept: top up once with `save_card`, then turn it on."
_EXAMPLE = {
    "enabled": True,
    "amount_pence": 5_000,
    "threshold_pence": 1_000,
    "monthly_cap_pence": 50_000,
}


class ConfigureSerializer(serializers.Serializer[Any]):
    enabled = serializers.BooleanField()
    amount_pence = WholeNumberField(help_text="What one recharge pays in.")
    threshold_pence = WholeNumberField(
        help_text="An effective balance below this starts a recharge."
    )
    monthly_cap_pence = WholeNumberField(
        required=False,
        help_text="What recharges pay in at most in a calendar month (UTC); as before if left out.",
    )

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and not isinstance(data.get("enabled", False), bool):
            raise serializers.ValidationError({"enabled": ["Send true or false."]})
        return super().to_internal_value(data)


class RechargeSettingsSerializer(serializers.ModelSerializer[Organization]):
    enabled = serializers.BooleanField(source="auto_recharge_enabled")
    amount_pence = serializers.IntegerField(source="auto_recharge_amount_pence")
    threshold_pence = serializers.IntegerField(source="auto_recharge_threshold_pence")
    monthly_cap_pence = serializers.IntegerField(source="auto_recharge_monthly_cap_pence")

    class Meta:
        model = Organization
        fields = ["enabled", "amount_pence", "threshold_pence", "monthly_cap_pence"]


class AutoRechargeView(OrganizationView):
    @documented(
        "Read when the wallet recharges itself",
        answers={200: RechargeSettingsSerializer},
        example_answer=_EXAMPLE,
    )
    @reads
    def get(self, _request: Request) -> Response:
        """When, by how much, and up to what in a month."""
        wallet = selectors.wallet(self.access.organization_id)
        return Response(RechargeSettingsSerializer(wallet).data)

    @documented(
        "Set when the wallet recharges itself",
        body=ConfigureSerializer,
        answers={200: RechargeSettingsSerializer},
        refusals={409: _NO_CARD},
        example_body=_EXAMPLE,
        example_answer=_EXAMPLE,
    )
    @spends
    def post(self, request: Request) -> Response:
        """Turned on, a wallet that is low already is recharged at once.

        Recharges are charged to the card that was kept from a top-up. After three declines in a row
        they are off, until they are turned on here again.
        """
        body = body_of(request, ConfigureSerializer)
        try:
            organization = configure(organization_id=self.access.organization_id, **body)
        except SettingsNotAllowed as error:
            raise serializers.ValidationError(
                {name: [sentence] for name, sentence in error.problems.items()}
            ) from None
        except NoCardKept as error:
            raise Problem(409, "no_card_kept", str(error)) from None
        return Response(RechargeSettingsSerializer(organization).data)
