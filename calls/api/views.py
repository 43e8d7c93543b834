"""Calls over HTTP. Views read and translate; the rules are in `calls.self_reported`."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from calls import selectors, self_reported
from calls.api.serializers import (
    CallSerializer,
    CallsQuerySerializer,
    CallsSerializer,
    CommitSerializer,
    CommittedSerializer,
    NotEnoughSerializer,
    ProfitQuerySerializer,
    ProfitReportSerializer,
    ReservedSerializer,
    ReserveSerializer,
)
from calls.selectors import CallFilter, Profit
from voxbilling.api.errors import Problem
from voxbilling.api.parsers import body_of, query_of
from voxbilling.api.schema import documented
from wallets.api.base import OrganizationView, reads, spends, staff_only
from wallets.ledger import InsufficientBalance

_VAPIS = "Vapi announced this call: only Vapi's record settles it."
_CONFLICT = "An id of another call, or one that cannot be used here."
_NOT_ENOUGH = OpenApiResponse(
    NotEnoughSerializer,
    "The wallet cannot pay for the shortest call.",
    [
        OpenApiExample(
            "insufficient_balance",
            {
                "error": "Insufficient balance: 49p needed, 40p available (balance 40p, of which "
                "0p is held for calls).",
                "code": "insufficient_balance",
                "balancePence": 40,
                "effectiveBalancePence": 40,
                "requiredPence": 49,
            },
        )
    ],
)
_EXAMPLE_CALL = {
    "id": "6a5cf0b6-6f7f-4dc5-8f4c-1d6ea1d3c5f1",
    "call_id": "0197a3f0-7d5e-7000-8000-0242ac120002",
    "vapi_call_id": "0197a3f0-7d5e-7000-8000-0242ac120002",
    "type": "inboundPhoneCall",
    "phone_number": "+442079460123",
    "status": "settled",
    "created_at": "2026-11-22T12:00:00Z",
    "started_at": "2026-11-22T12:00:04Z",
    "ended_at": "2026-11-22T12:01:05Z",
    "ended_reason": "customer-ended-call",
    "duration_seconds": 61,
    "reserved_pence": 0,
    "charged_pence": 98,
    "uncollected_pence": 0,
    "not_charged_because": "",
    "settled_from": "vapi",
    "transaction_id": "0f1e7f64-5a0c-4b0e-9e0b-0c6c0a2f7a52",
}


class SelfReportedView(OrganizationView):
    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, self_reported.SettledByVapi):
            exc = Problem(409, "settled_by_vapi", str(exc))
        elif isinstance(exc, InsufficientBalance):
            exc = Problem(
                402,
                "insufficient_balance",
                str(exc),
                balancePence=exc.balance_pence,
                effectiveBalancePence=exc.effective_balance_pence,
                requiredPence=exc.required_pence,
            )
        return super().handle_exception(exc)


class ReserveView(SelfReportedView):
    @documented(
        "Hold money for a call",
        body=ReserveSerializer,
        answers={200: ReservedSerializer},
        refusals={402: _NOT_ENOUGH, 409: _VAPIS, 422: _CONFLICT},
        example_body={"callId": "call-1", "estimatedMinutes": 5},
        example_answer={
            "success": True,
            "duplicate": False,
            "reservationId": "b8f4e7c2-9a51-4f0e-8a3c-2f9d0f1f2c11",
            "reservedPence": 245,
            "balancePence": 5_000,
            "effectiveBalancePence": 4_755,
            "activeReservationsPence": 245,
        },
    )
    @spends
    def post(self, request: Request) -> Response:
        """Holds the price of the estimated minutes, or what the wallet can pay of it.

        The same call again: the same reservation, with `duplicate: true`.
        """
        body = body_of(request, ReserveSerializer)
        reserved = self_reported.reserve(
            organization_id=self.access.organization_id,
            call_id=body["callId"],
            vapi_call_id=body.get("vapiCallId"),
            estimated_minutes=body.get("estimatedMinutes", settings.RESERVATION_MINUTES),
        )
        return _succeeded(ReservedSerializer, reserved)


class CommitView(SelfReportedView):
    @documented(
        "Settle a call",
        body=CommitSerializer,
        answers={200: CommittedSerializer},
        refusals={409: _VAPIS, 422: _CONFLICT},
        example_body={"callId": "call-1", "durationSeconds": 61},
        example_answer={
            "success": True,
            "duplicate": False,
            "transactionId": "0f1e7f64-5a0c-4b0e-9e0b-0c6c0a2f7a52",
            "reservedPence": 245,
            "actualCostPence": 98,
            "releasedPence": 147,
            "uncollectedPence": 0,
            "balanceBefore": 5_098,
            "balanceAfter": 5_000,
            "durationSeconds": 61,
        },
    )
    @spends
    def post(self, request: Request) -> Response:
        """Charges the call's price from its hold, and gives the rest back.

        Without a reservation the call is charged directly. A call is settled once: again, with any
        duration, gives the first result with `duplicate: true`.
        """
        body = body_of(request, CommitSerializer)
        settled = self_reported.commit(
            organization_id=self.access.organization_id,
            call_id=body["callId"],
            duration_seconds=body["durationSeconds"],
        )
        return _succeeded(CommittedSerializer, settled)


def _succeeded(serializer: type[Any], result: Any) -> Response:
    return Response(serializer({"success": True, **asdict(result)}).data)


class CallsView(OrganizationView):
    @extend_schema(operation_id="calls_list")
    @documented(
        "List calls",
        parameters=[CallsQuerySerializer],
        answers={200: CallsSerializer},
        example_answer={
            "calls": [_EXAMPLE_CALL],
            "pagination": {"limit": 1, "next": "yY2qgm9sZGVyIDEy", "previous": None},
        },
    )
    @reads
    def get(self, request: Request) -> Response:
        """Newest first. For the page that follows, send `next` as `cursor`, with the same filters.

        Pages stay as they are while new calls come.
        """
        query = query_of(request, CallsQuerySerializer)
        page = selectors.calls_page(
            self.access.organization_id,
            limit=query["limit"],
            cursor=query.get("cursor"),
            wanted=CallFilter(
                state=query.get("status"),
                phone_number=query.get("phone_number"),
                date_from=query.get("date_from"),
                date_to=query.get("date_to"),
            ),
        )
        return Response(CallsSerializer(page).data)


class CallView(OrganizationView):
    @documented("Read a call", answers={200: CallSerializer}, example_answer=_EXAMPLE_CALL)
    @reads
    def get(self, _request: Request, call_pk: UUID) -> Response:
        """By the `id` that the list gives."""
        found = selectors.find_listed_call(self.access.organization_id, call_pk)
        if found is None:
            raise Http404
        return Response(CallSerializer(found).data)


class ProfitView(OrganizationView):
    @documented(
        "Read what calls earn",
        parameters=[ProfitQuerySerializer],
        answers={200: ProfitReportSerializer},
        example_answer={
            "days": 1,
            "provider_cost_pence": 41,
            "charged_pence": 98,
            "gross_profit_pence": 57,
            "margin_percent": 58.2,
            "by_day": [
                {
                    "date": "2026-11-22",
                    "provider_cost_pence": 41,
                    "charged_pence": 98,
                    "gross_profit_pence": 57,
                    "margin_percent": 58.2,
                }
            ],
        },
    )
    @staff_only
    def get(self, request: Request) -> Response:
        """For staff: what an organization's calls cost at Vapi and were charged, by UTC day.

        The total is rounded once, so that it can differ by pennies from the sum of the days.
        """
        days = query_of(request, ProfitQuerySerializer)["days"]
        report = selectors.profit(self.access.organization_id, days=days)
        body = {
            "days": days,
            **_profit(report.total),
            "by_day": [{"date": day, **_profit(profit)} for day, profit in report.by_day.items()],
        }
        return Response(ProfitReportSerializer(body).data)


def _profit(profit: Profit) -> dict[str, Any]:
    return {
        "provider_cost_pence": profit.provider_cost_pence,
        "charged_pence": profit.charged_pence,
        "gross_profit_pence": profit.gross_profit_pence,
        "margin_percent": profit.margin_percent,
    }
