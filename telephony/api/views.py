"""Phone numbers as customers search, buy, list and release them."""

from typing import Any
from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from telephony import provisioning, releases, selectors, twilio_client
from telephony.api.serializers import (
    AvailableNumbersSerializer,
    InProgressSerializer,
    NotEnoughForNumberSerializer,
    NumbersQuerySerializer,
    NumbersSerializer,
    ProvisionedSerializer,
    ReleasedSerializer,
    WantedNumberSerializer,
)
from telephony.models import PhoneNumber
from telephony.providers import ProviderError
from voxbilling.api.errors import Problem
from voxbilling.api.parsers import body_of, query_of
from voxbilling.api.schema import documented
from voxbilling.storable_text import is_storable
from wallets import ledger
from wallets.api.base import OrganizationView, reads, spends

MAX_KEY_LENGTH = 128
NUMBERS_SHOWN = 20
# The sweep looks again after fifteen seconds at first.
RETRY_AFTER_SECONDS = 20
# What is down, or has refused us, is not put right in seconds.
RETRY_LATER_SECONDS = 300
_FAILURE_STATUSES = {
    "no_numbers_available": 404,
    "address_required": 400,
    "bundle_required": 400,
}
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    OpenApiParameter.HEADER,
    description="1 to 128 characters of your own, kept for ever: the same key buys once.",
)


class AvailableNumbersView(OrganizationView):
    # It asks Twilio and reads nothing of ours: a tenant scope would be a transaction that waits.
    @documented(
        "Search phone numbers",
        parameters=[WantedNumberSerializer],
        answers={200: AvailableNumbersSerializer},
        refusals={503: "Twilio cannot be asked now: `telephony_unavailable`."},
        example_answer={
            "numbers": [
                {
                    "phoneNumber": "+442079460123",
                    "locality": "London",
                    "region": "",
                    "needsAddress": False,
                }
            ],
            "monthlyPricePence": 1_000,
        },
    )
    def get(self, request: Request) -> Response:
        """Some numbers of a kind that are for sale; none where there are none."""
        wanted = query_of(request, WantedNumberSerializer)
        try:
            numbers = twilio_client.search_numbers(**wanted, limit=NUMBERS_SHOWN)
        except ProviderError:
            raise Problem(
                503,
                "telephony_unavailable",
                "Phone numbers cannot be searched at the moment: try again later.",
                retry_after_seconds=RETRY_LATER_SECONDS,
            ) from None
        price_pence = settings.PHONE_NUMBER_COST_PENCE
        found = {"numbers": numbers, "monthlyPricePence": price_pence}
        return Response(AvailableNumbersSerializer(found).data)


class ProvisionView(OrganizationView):
    @documented(
        "Buy a phone number",
        body=WantedNumberSerializer,
        parameters=[_IDEMPOTENCY_KEY],
        answers={
            201: ProvisionedSerializer,
            200: OpenApiResponse(ProvisionedSerializer, "This key had bought it before."),
        },
        refusals={
            402: OpenApiResponse(
                NotEnoughForNumberSerializer, "The wallet cannot pay. The key is not used up."
            ),
            404: "There is no number to buy: `no_numbers_available`; or no such organization.",
            409: OpenApiResponse(
                InProgressSerializer,
                "The number is being bought: `in_progress`. Ask again with the same key.",
            ),
            422: "The key was used before with other details: `idempotency_conflict`.",
            503: "The phone company cannot sell now: `telephony_unavailable`, "
            "`telephony_refused`, `purchase_interrupted`, `import_refused`, `number_in_use`.",
        },
        example_body={"country": "GB", "numberType": "local", "areaCode": "20"},
        example_answer={
            "success": True,
            "duplicate": False,
            "id": "4b8f6a0e-7a56-4a66-9d1b-3a1f0b1f6a10",
            "phoneNumber": "+442079460123",
            "vapiPhoneId": "0d3a2b9e-58a5-4a1f-8f6e-6f3f6d9b1c22",
            "transactionId": "0f1e7f64-5a0c-4b0e-9e0b-0c6c0a2f7a52",
            "balanceAfterPence": 4_000,
        },
    )
    @spends
    def post(self, request: Request) -> Response:
        """All or nothing: the number is bought and charged, or the price is refunded.

        Send an `Idempotency-Key`, and after a lost answer the same request with the same key: it
        buys no second number. A request that failed and was refunded gives its error again: send
        a new key to try again. The price is charged every month until the number is released.
        """
        wanted = body_of(request, WantedNumberSerializer)
        try:
            bought = provisioning.provision(
                organization_id=self.access.organization_id,
                **wanted,
                idempotency_key=_key_of(request),
            )
        except ledger.InsufficientBalance as refusal:
            raise Problem(
                402,
                "insufficient_balance",
                str(refusal),
                required=refusal.required_pence,
                current=refusal.effective_balance_pence,
                shortfallPence=refusal.shortfall_pence,
                canRetry=True,
            ) from None
        except provisioning.ProvisioningInProgress as refusal:
            raise Problem(
                409,
                "in_progress",
                str(refusal),
                retry_after_seconds=RETRY_AFTER_SECONDS,
                idempotencyKey=refusal.idempotency_key,
            ) from None
        except provisioning.ProvisioningFailed as refusal:
            status = _FAILURE_STATUSES.get(refusal.code, 503)
            raise Problem(
                status,
                refusal.code,
                f"{refusal} To try again, send a new Idempotency-Key.",
                retry_after_seconds=RETRY_LATER_SECONDS if status == 503 else None,
            ) from None
        body = ProvisionedSerializer({"success": True, **vars(bought)}).data
        return Response(body, status=200 if bought.duplicate else 201)


class NumbersView(OrganizationView):
    @documented(
        "List phone numbers",
        parameters=[NumbersQuerySerializer],
        answers={200: NumbersSerializer},
        example_answer={
            "numbers": [
                {
                    "id": "4b8f6a0e-7a56-4a66-9d1b-3a1f0b1f6a10",
                    "phoneNumber": "+442079460123",
                    "vapiPhoneId": "0d3a2b9e-58a5-4a1f-8f6e-6f3f6d9b1c22",
                    "status": "active",
                    "monthlyPricePence": 1_000,
                    "paidUntil": "2026-12-22T12:00:00Z",
                    "unpaidSince": None,
                    "createdAt": "2026-11-22T12:00:00Z",
                }
            ],
            "pagination": {"limit": 20, "next": None, "previous": None},
        },
    )
    @reads
    def get(self, request: Request) -> Response:
        """The organization's numbers, newest first; without those that were released."""
        query = query_of(request, NumbersQuerySerializer)
        page = selectors.numbers_page(
            self.access.organization_id, limit=query["limit"], cursor=query.get("cursor")
        )
        return Response(NumbersSerializer(page).data)


class NumberView(OrganizationView):
    @documented(
        "Release a phone number",
        answers={200: ReleasedSerializer},
        refusals={
            409: "It is being released: `in_progress`; or our staff set it up, and have to "
            "release it: `set_up_by_staff`."
        },
        example_answer={
            "success": True,
            "id": "4b8f6a0e-7a56-4a66-9d1b-3a1f0b1f6a10",
            "phoneNumber": "+442079460123",
            "status": "released",
        },
    )
    @spends
    def delete(self, _request: Request, phone_number_id: UUID) -> Response:
        """Give the number back for good. Months that were paid are not refunded."""
        try:
            number = releases.release_number(
                organization_id=self.access.organization_id, phone_number_id=phone_number_id
            )
        except PhoneNumber.DoesNotExist:
            raise NotFound from None
        except releases.EnteredByStaff as refusal:
            raise Problem(409, "set_up_by_staff", str(refusal)) from None
        except releases.ReleaseInProgress as refusal:
            raise Problem(
                409, "in_progress", str(refusal), retry_after_seconds=RETRY_AFTER_SECONDS
            ) from None
        body: dict[str, Any] = {
            "success": True,
            "id": number.pk,
            "phoneNumber": number.number,
            "status": number.status,
        }
        return Response(ReleasedSerializer(body).data)


def _key_of(request: Request) -> str | None:
    key: str | None = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and is_storable(key)):
        sentence = f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable characters."
        raise Problem(400, "bad_input", sentence, fields={"Idempotency-Key": [sentence]})
    return key
