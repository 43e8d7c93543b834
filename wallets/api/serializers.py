"""How wallets and their entries look in JSON, and what a list of entries may be asked for."""

from typing import Any

from rest_framework import serializers

from voxbilling.api.pages import CursorField, PageQuerySerializer, PaginationSerializer
from wallets.models import CreditTransaction, Organization
from wallets.payments import topups


class WalletSummarySerializer(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = ["total_spent_pence", "total_topped_up_pence", "total_calls"]
        read_only_fields = fields


class WalletSerializer(serializers.ModelSerializer[Organization]):
    balance_formatted = serializers.CharField(
        help_text="The balance in pounds, like £12.34, or −£0.05 below 0."
    )
    effective_balance_pence = serializers.IntegerField(
        help_text="The balance less what is held for calls, in pence."
    )
    is_low_balance = serializers.BooleanField(
        help_text="Whether the effective balance is below `low_balance_pence`."
    )
    estimated_minutes_remaining = serializers.IntegerField(
        min_value=0, help_text="Whole minutes of calls that the wallet can still pay for."
    )
    has_payment_method = serializers.BooleanField(
        help_text="Whether a card is kept that automatic recharges can charge."
    )
    summary = WalletSummarySerializer(source="*")

    class Meta:
        model = Organization
        fields = [
            "balance_pence",
            "balance_formatted",
            "reserved_pence",
            "effective_balance_pence",
            "debt_limit_pence",
            "owed_pence",
            "low_balance_pence",
            "is_low_balance",
            "rate_pence_per_minute",
            "estimated_minutes_remaining",
            "status",
            "auto_recharge_enabled",
            "has_payment_method",
            "summary",
        ]
        read_only_fields = fields


class TopUpSerializer(serializers.Serializer[Any]):
    amount_pence = serializers.IntegerField(min_value=1, max_value=topups.MAX_TOPUP_PENCE)
    save_card = serializers.BooleanField(
        default=False,
        help_text="The customer agrees that the card is kept, for automatic recharges.",
    )


class CheckoutSerializer(serializers.Serializer[Any]):
    url = serializers.URLField(help_text="Stripe's page to pay on: send the customer there.")


class TransactionSerializer(serializers.ModelSerializer[CreditTransaction]):
    call_id = serializers.CharField(
        source="reservation.call_id", default=None, allow_null=True, help_text="The call charged."
    )

    class Meta:
        model = CreditTransaction
        fields = [
            "id",
            "sequence",
            "type",
            "direction",
            "amount_pence",
            "balance_before_pence",
            "balance_after_pence",
            "owed_before_pence",
            "owed_after_pence",
            "description",
            "call_id",
            "created_at",
        ]
        read_only_fields = fields


class TransactionsSerializer(serializers.Serializer[Any]):
    transactions = TransactionSerializer(many=True, source="rows")
    pagination = PaginationSerializer(source="*")


class TransactionsQuerySerializer(PageQuerySerializer):
    type = serializers.ChoiceField(
        CreditTransaction.Type.choices, required=False, help_text="Only entries of this type."
    )
    cursor = CursorField(int)
