"""An alert of every kind, as the product raises them."""

from datetime import UTC, datetime

from wallets.alerts import Kind, raise_alert
from wallets.models import Alert

IN_SUMMER = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)

EXAMPLES = {
    Kind.LOW_BALANCE: {"balance_pence": 999, "low_balance_pence": 1_000, "owed_pence": 0},
    Kind.EMPTY: {"balance_pence": -499, "debt_limit_pence": 500, "owed_pence": 98},
    Kind.TOPUP_RECEIPT: {
        "amount_pence": 5_000,
        "is_automatic": False,
        "paid_at": IN_SUMMER,
        "reference": "pi_1",
        "balance_pence": 12_345,
        "owed_pence": 0,
    },
    Kind.RECHARGE_FAILED: {
        "amount_pence": 5_000,
        "reason": "Your card was declined.",
        "next_attempt_at": IN_SUMMER,
        "balance_pence": 205,
    },
    Kind.RECHARGE_OFF: {
        "declines": 3,
        "reason": "Your card was declined.",
        "balance_pence": -205,
    },
    Kind.RECHARGE_NEEDS_AUTHENTICATION: {
        "amount_pence": 5_000,
        "url": "https://billing.example.com/wallet/top-up/?amount_pence=5000&from=e-mail",
        "balance_pence": 205,
    },
    Kind.REFUND_MADE: {"amount_pence": 2_500, "reference": "re_1", "balance_pence": 7_505},
    Kind.PAYMENT_CLAWED_BACK: {
        "amount_pence": 5_000,
        "reason": "Your bank disputes the payment.",
        "balance_pence": 0,
        "owed_pence": 3_210,
    },
    Kind.CALLS_CUT_OFF: {
        "count": 3,
        "calls": [
            {"call_id": "call-1", "number": "+442071234567", "started_at": IN_SUMMER},
            {"call_id": "call-2", "number": None, "started_at": None},
        ],
    },
    Kind.RENTAL_UNPAID: {
        "number": "+442071234567",
        "price_pence": 1_000,
        "releases_at": IN_SUMMER,
    },
    Kind.NUMBER_RELEASED: {
        "number": "+442071234567",
        "price_pence": 1_000,
        "unpaid_since_at": IN_SUMMER,
    },
}


def raised(organization, kind=Kind.REFUND_MADE, key="1", **changes) -> Alert:
    """An alert as it comes out of the database."""
    raise_alert(organization.pk, kind, key=key, context=EXAMPLES[kind] | changes)
    return Alert.objects.get(organization=organization, kind=kind, key=key)
