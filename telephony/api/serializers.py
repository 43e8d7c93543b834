"""What may be asked about phone numbers in JSON, and how they look in it."""

from typing import Any

from rest_framework import serializers

from telephony import selectors
from telephony.models import NumberOrder, PhoneNumber
from telephony.numbering import (
    AreaCodeNotSupported,
    beginning_of_numbers,
    is_area_code,
    is_country,
)
from voxbilling.api.fields import TextField
from voxbilling.api.pages import CursorField, PageQuerySerializer, PaginationSerializer
from voxbilling.api.schema import ErrorSerializer


class WantedNumberSerializer(serializers.Serializer[Any]):
    """What kind of number is wanted, in a query as in a body."""

    country = TextField(
        validators=[is_country],
        help_text="Two letters, like GB.",
    )
    numberType = serializers.ChoiceField(
        NumberOrder.NumberType.choices, default=NumberOrder.NumberType.LOCAL
    )
    areaCode = TextField(
        required=False,
        validators=[is_area_code],
        help_text="Digits, like 20 or 020. Not every country's numbers can be chosen by it.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "areaCode" in attrs:
            try:
                beginning_of_numbers(attrs["country"], attrs["areaCode"])
            except AreaCodeNotSupported as refusal:
                raise serializers.ValidationError({"areaCode": [str(refusal)]}) from None
        return {
            "country": attrs["country"],
            "number_type": attrs["numberType"],
            "area_code": attrs.get("areaCode", ""),
        }


class AvailableNumberSerializer(serializers.Serializer[Any]):
    phoneNumber = serializers.CharField(source="number")
    locality = serializers.CharField(help_text="Blank where it is not known.")
    region = serializers.CharField(help_text="Blank where it is not known.")
    needsAddress = serializers.BooleanField(
        source="needs_address", help_text="Whether an address has to be registered first."
    )


class AvailableNumbersSerializer(serializers.Serializer[Any]):
    numbers = AvailableNumberSerializer(many=True)
    monthlyPricePence = serializers.IntegerField(
        help_text="What each costs a month, in pence. The purchase pays the first month."
    )


class ProvisionedSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    duplicate = serializers.BooleanField(help_text="Whether this key had bought it before.")
    id = serializers.UUIDField(source="phone_number_id", help_text="To release it by.")
    phoneNumber = serializers.CharField(source="number")
    vapiPhoneId = serializers.CharField(source="vapi_phone_number_id")
    transactionId = serializers.UUIDField(source="transaction_id")
    balanceAfterPence = serializers.IntegerField(source="balance_after_pence")


class NotEnoughForNumberSerializer(ErrorSerializer):
    required = serializers.IntegerField(  # type: ignore[assignment]
        help_text="The price, in pence."
    )
    current = serializers.IntegerField(help_text="What is not held for calls, in pence.")
    shortfallPence = serializers.IntegerField()
    canRetry = serializers.BooleanField(
        help_text="True: with more money, the same request and key can be sent again."
    )


class InProgressSerializer(ErrorSerializer):
    idempotencyKey = serializers.CharField(help_text="To ask again with.")


class NumberSerializer(serializers.ModelSerializer[PhoneNumber]):
    phoneNumber = serializers.CharField(source="number")
    vapiPhoneId = serializers.CharField(source="vapi_phone_number_id", allow_null=True)
    monthlyPricePence = serializers.IntegerField(
        source="monthly_price_pence", allow_null=True, help_text="Null: nothing is charged for it."
    )
    paidUntil = serializers.DateTimeField(source="paid_until", allow_null=True)
    unpaidSince = serializers.DateTimeField(
        source="rent_unpaid_since",
        allow_null=True,
        help_text="When the month that is due could first not be paid; 7 days later the number is "
        "released.",
    )
    createdAt = serializers.DateTimeField(source="created_at")

    class Meta:
        model = PhoneNumber
        fields = [
            "id",
            "phoneNumber",
            "vapiPhoneId",
            "status",
            "monthlyPricePence",
            "paidUntil",
            "unpaidSince",
            "createdAt",
        ]
        read_only_fields = fields


class NumbersSerializer(serializers.Serializer[Any]):
    numbers = NumberSerializer(many=True, source="rows")
    pagination = PaginationSerializer(source="*")


class NumbersQuerySerializer(PageQuerySerializer):
    cursor = CursorField(selectors.read_number_key)


class ReleasedSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    id = serializers.UUIDField()
    phoneNumber = serializers.CharField()
    status = serializers.ChoiceField(["released"])
