"""How calls look in JSON: camelCase to reserve and commit, snake_case to look at them."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from rest_framework import serializers

from calls.models import Call
from calls.selectors import CallKey
from voxbilling.api.fields import TextField, WholeNumberField, WholeNumberParameter
from voxbilling.api.pages import CursorField, PageQuerySerializer, PaginationSerializer
from voxbilling.api.schema import ErrorSerializer
from wallets.ledger.arguments import (
    MAX_CALL_ID_LENGTH,
    MAX_DURATION_SECONDS,
    MAX_ESTIMATED_MINUTES,
    check_new_call_id,
)


def _new_call_id(call_id: str) -> None:
    try:
        check_new_call_id(call_id)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class ReserveSerializer(serializers.Serializer[Any]):
    callId = TextField(
        max_length=MAX_CALL_ID_LENGTH,
        validators=[_new_call_id],
        help_text="Your id of the call. It is kept as it is: A and a are two calls.",
    )
    vapiCallId = TextField(
        max_length=MAX_CALL_ID_LENGTH,
        validators=[_new_call_id],
        required=False,
        allow_null=True,
        help_text="Vapi's id of the call. If Vapi reports it, only Vapi's record charges it.",
    )
    estimatedMinutes = WholeNumberField(
        min_value=1,
        max_value=MAX_ESTIMATED_MINUTES,
        required=False,
        help_text=f"Minutes to hold money for; {settings.RESERVATION_MINUTES} if left out.",
    )


class ReservedSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    duplicate = serializers.BooleanField(help_text="The call had been reserved before.")
    reservationId = serializers.UUIDField(source="reservation_id")
    reservedPence = serializers.IntegerField(source="reserved_pence")
    balancePence = serializers.IntegerField(source="balance_pence")
    effectiveBalancePence = serializers.IntegerField(source="effective_balance_pence")
    activeReservationsPence = serializers.IntegerField(source="active_reservations_pence")


class NotEnoughSerializer(ErrorSerializer):
    balancePence = serializers.IntegerField()
    effectiveBalancePence = serializers.IntegerField()
    requiredPence = serializers.IntegerField(help_text="The price of the shortest call.")


class CommitSerializer(serializers.Serializer[Any]):
    callId = TextField(max_length=MAX_CALL_ID_LENGTH, validators=[_new_call_id])
    durationSeconds = WholeNumberField(
        min_value=0, max_value=MAX_DURATION_SECONDS, help_text="How long the call lasted."
    )


class CommittedSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    duplicate = serializers.BooleanField(
        help_text="The call had been settled before: these are the figures of then."
    )
    transactionId = serializers.UUIDField(
        source="transaction_id", allow_null=True, help_text="Null for a call that cost nothing."
    )
    reservedPence = serializers.IntegerField(source="reserved_pence")
    actualCostPence = serializers.IntegerField(source="actual_cost_pence")
    releasedPence = serializers.IntegerField(source="released_pence")
    uncollectedPence = serializers.IntegerField(
        source="uncollected_pence", help_text="Of the cost, what the wallet could not pay and owes."
    )
    balanceBefore = serializers.IntegerField(source="balance_before_pence")
    balanceAfter = serializers.IntegerField(source="balance_after_pence")
    durationSeconds = serializers.IntegerField(
        source="duration_seconds", help_text="What the call was settled at, the first time."
    )


class CallSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="call.pk")
    call_id = serializers.CharField(source="call.call_id")
    vapi_call_id = serializers.CharField(source="call.vapi_call_id", allow_null=True)
    type = serializers.CharField(source="call.type")
    phone_number = serializers.CharField(
        source="call.phone_number.number", default=None, allow_null=True
    )
    status = serializers.ChoiceField(Call.State.choices, source="state")
    created_at = serializers.DateTimeField(source="call.created_at")
    started_at = serializers.DateTimeField(source="call.started_at", allow_null=True)
    ended_at = serializers.DateTimeField(source="call.ended_at", allow_null=True)
    ended_reason = serializers.CharField(source="call.ended_reason")
    duration_seconds = serializers.IntegerField(source="call.duration_seconds", allow_null=True)
    reserved_pence = serializers.IntegerField(
        source="money.reserved_pence", help_text="Held for the call now."
    )
    charged_pence = serializers.IntegerField(source="call.charged_pence", allow_null=True)
    uncollected_pence = serializers.IntegerField(source="call.uncollected_pence", allow_null=True)
    not_charged_because = serializers.CharField(source="call.not_charged_because")
    settled_from = serializers.CharField(
        source="call.settled_from", help_text="`vapi` or `customer`; empty while not settled."
    )
    transaction_id = serializers.UUIDField(
        source="money.transaction_id",
        allow_null=True,
        help_text="The ledger entry that charged the call.",
    )


class CallsSerializer(serializers.Serializer[Any]):
    calls = CallSerializer(many=True, source="rows")
    pagination = PaginationSerializer(source="*")


class CallsQuerySerializer(PageQuerySerializer):
    cursor = CursorField(CallKey.read)
    status = serializers.ChoiceField(
        [Call.State.LIVE.value, Call.State.SETTLED.value], required=False
    )
    phone_number = serializers.RegexField(
        r"^\+?[1-9][0-9]{6,14}\Z", required=False, help_text="In international form."
    )
    date_from = serializers.DateField(required=False, help_text="First seen on this day or later.")
    date_to = serializers.DateField(required=False, help_text="First seen on this day or before.")

    def validate_phone_number(self, number: str) -> str:
        # In an address, a plus that is not written as %2B is a space.
        return f"+{number.removeprefix('+')}"


class ProfitQuerySerializer(serializers.Serializer[Any]):
    days = WholeNumberParameter(
        min_value=1, max_value=366, default=30, help_text="How many days, today (UTC) included."
    )


class ProfitSerializer(serializers.Serializer[Any]):
    provider_cost_pence = serializers.IntegerField(
        help_text="What Vapi charged, in pounds, rounded half up to a whole penny."
    )
    charged_pence = serializers.IntegerField()
    gross_profit_pence = serializers.IntegerField()
    margin_percent = serializers.FloatField(
        allow_null=True, help_text="Profit in proportion to what was charged; null if nothing was."
    )


class ProfitOfDaySerializer(ProfitSerializer):
    date = serializers.DateField()


class ProfitReportSerializer(ProfitSerializer):
    days = serializers.IntegerField()
    by_day = ProfitOfDaySerializer(many=True)
