"""What customers read of their wallet."""

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from voxbilling.api.errors import RETRY_AFTER_SECONDS, Problem
from voxbilling.api.parsers import body_of, query_of
from voxbilling.api.schema import documented
from wallets import selectors
from wallets.api.base import OrganizationView, reads, spends
from wallets.api.serializers import (
    CheckoutSerializer,
    TopUpSerializer,
    TransactionsQuerySerializer,
    TransactionsSerializer,
    WalletSerializer,
)
from wallets.payments import topups
from wallets.payments.stripe_client import PaymentError


class WalletView(OrganizationView):
    @documented(
        "Read the wallet",
        answers={200: WalletSerializer},
        example_answer={
            "balance_pence": 5_000,
            "balance_formatted": "£50.00",
            "reserved_pence": 245,
            "effective_balance_pence": 4_755,
            "debt_limit_pence": 0,
            "owed_pence": 0,
            "low_balance_pence": 1_000,
            "is_low_balance": False,
            "rate_pence_per_minute": 49,
            "estimated_minutes_remaining": 97,
            "status": "active",
            "auto_recharge_enabled": False,
            "has_payment_method": True,
            "summary": {
                "total_spent_pence": 1_470,
                "total_topped_up_pence": 6_470,
                "total_calls": 11,
            },
        },
    )
    @reads
    def get(self, _request: Request) -> Response:
        """Balance, holds, tariff and totals. What is held for live calls is part of the balance."""
        wallet = selectors.wallet(self.access.organization_id)
        return Response(WalletSerializer(wallet).data)


class TopUpView(OrganizationView):
    @documented(
        "Top up by card",
        body=TopUpSerializer,
        answers={200: CheckoutSerializer},
        refusals={503: "Stripe cannot be reached: `payments_unavailable`. Nothing was charged."},
        example_body={"amount_pence": 5_000, "save_card": True},
        example_answer={"url": "https://checkout.stripe.com/c/pay/cs_live_a1b2c3"},
    )
    @spends
    def post(self, request: Request) -> Response:
        """Begin a payment on a page of Stripe's. The wallet is credited once Stripe has the money.

        Each request begins a payment of its own; one that nobody pays expires after a day.
        """
        wanted = body_of(request, TopUpSerializer)
        try:
            url = topups.start_checkout(
                organization_id=self.access.organization_id, user_id=request.user.pk, **wanted
            )
        except topups.AmountNotAllowed as refusal:
            raise ValidationError({"amount_pence": [str(refusal)]}) from None
        except topups.TooManyOpen as refusal:
            raise Problem(429, "too_many_open_topups", str(refusal)) from None
        except PaymentError:
            raise Problem(
                503,
                "payments_unavailable",
                "Payments are not possible now, and nothing was charged: try again in a minute.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            ) from None
        return Response(CheckoutSerializer({"url": url}).data)


class TransactionsView(OrganizationView):
    @documented(
        "List ledger entries",
        parameters=[TransactionsQuerySerializer],
        answers={200: TransactionsSerializer},
        example_answer={
            "transactions": [
                {
                    "id": "0f1e7f64-5a0c-4b0e-9e0b-0c6c0a2f7a52",
                    "sequence": 12,
                    "type": "call_deduction",
                    "direction": "debit",
                    "amount_pence": 98,
                    "balance_before_pence": 5_098,
                    "balance_after_pence": 5_000,
                    "owed_before_pence": 0,
                    "owed_after_pence": 0,
                    "description": "Call call-1, 61 seconds",
                    "call_id": "call-1",
                    "created_at": "2026-11-22T12:00:00Z",
                }
            ],
            "pagination": {"limit": 1, "next": "yY2qgm9sZGVyIDEy", "previous": None},
        },
    )
    @reads
    def get(self, request: Request) -> Response:
        """Newest first. For the page that follows, send `next` as `cursor`, with the same filter.

        Pages stay as they are while new entries come.
        """
        query = query_of(request, TransactionsQuerySerializer)
        page = selectors.entries_page(
            self.access.organization_id,
            limit=query["limit"],
            entry_type=query.get("type"),
            cursor=query.get("cursor"),
        )
        return Response(TransactionsSerializer(page).data)
