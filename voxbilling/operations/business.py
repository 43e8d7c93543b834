"""Reads of the whole business, for staff. Each is one or two statements, and none of them takes
longer with the history: they read organizations, what is live, what waits, and today."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import BigIntegerField, Case, Count, F, Q, Sum, Value, When

from calls.models import Call
from calls.selectors import Profit
from telephony.models import NumberOrder, PhoneNumber
from wallets.models import Alert, CreditTransaction, Organization, Refund, TopUp

SHOWN_RUNNING_DRY = 10
DRY_WITHIN_MINUTES = 60

_PENCE = BigIntegerField()

LIVE = Q(ended_at=None, announced_by_vapi=True)
LOW = Q(status="active", low_balance_pence__gt=F("balance_pence") - F("reserved_pence"))


@dataclass(frozen=True, kw_only=True)
class Wallets:
    """Sums over all wallets, in pence, and how many there are of some kinds."""

    balance_pence: int
    held_pence: int
    owed_pence: int
    owing: int
    low: int
    suspended: int


def wallets_now() -> Wallets:
    found = Organization.objects.aggregate(
        balance=Sum("balance_pence", default=0),
        held=Sum("reserved_pence", default=0),
        owed=Sum("owed_pence", default=0),
        owing=Count("pk", filter=Q(owed_pence__gt=0)),
        low=Count("pk", filter=LOW),
        suspended=Count("pk", filter=Q(status=Organization.Status.SUSPENDED)),
    )
    return Wallets(
        balance_pence=int(found["balance"]),
        held_pence=int(found["held"]),
        owed_pence=int(found["owed"]),
        owing=found["owing"],
        low=found["low"],
        suspended=found["suspended"],
    )


@dataclass(frozen=True, kw_only=True)
class Burning:
    """An organization whose live calls use its money up, if nothing changes."""

    organization_id: str
    name: str
    calls: int
    pence_per_minute: int
    left_pence: int
    minutes_left: int


@dataclass(frozen=True, kw_only=True)
class Burn:
    """What live calls cost in a minute, and whose money ends within an hour, the first first."""

    calls: int
    pence_per_minute: int
    running_dry: list[Burning]


def burn_now() -> Burn:
    """At the organizations' rates as they are now; calls that ring cost nothing yet."""
    live = Call.objects.filter(LIVE)
    rate = F("organization__rate_pence_per_minute")
    burns = Sum(Case(When(started_at=None, then=Value(0)), default=rate, output_field=_PENCE))
    total = live.aggregate(calls=Count("pk"), burn=burns)
    rows = (
        live.values("organization", "organization__name")
        .annotate(
            calls=Count("pk"),
            burn=burns,
            # What calls hold is theirs to use.
            left=F("organization__balance_pence") + F("organization__debt_limit_pence"),
        )
        .filter(burn__gt=0, left__lt=F("burn") * DRY_WITHIN_MINUTES)
        .annotate(minutes=F("left") / F("burn"))
        .order_by("minutes", "organization__name")[:SHOWN_RUNNING_DRY]
    )
    return Burn(
        calls=total["calls"],
        pence_per_minute=total["burn"] or 0,
        running_dry=[
            Burning(
                organization_id=str(row["organization"]),
                name=row["organization__name"],
                calls=row["calls"],
                pence_per_minute=row["burn"],
                left_pence=row["left"],
                minutes_left=int(row["minutes"]),
            )
            for row in rows
        ],
    )


def taken_since(moment: datetime) -> int:
    """What wallets paid for calls and assets and of what they owed, less refunds, in pence.

    The same as goes into an organization's `total_spent_pence`.
    """
    spending = Q(type__in=CreditTransaction.SPENDING_TYPES)
    correction = Q(type=CreditTransaction.Type.ADJUSTMENT, reservation__isnull=False)
    sums = CreditTransaction.objects.filter(created_at__gte=moment).aggregate(
        taken=Sum("amount_pence", default=0, filter=spending | correction & Q(direction="debit")),
        given=Sum(
            "amount_pence",
            default=0,
            filter=Q(type=CreditTransaction.Type.REFUND) | correction & Q(direction="credit"),
        ),
    )
    return int(sums["taken"] - sums["given"])


def profit_since(moment: datetime) -> Profit:
    """What the calls that ended since then cost the operator and earned it."""
    sums = Call.objects.filter(ended_at__gte=moment).aggregate(
        cost_usd=Sum("vapi_cost_usd", default=Decimal(0)),
        charged=Sum("charged_pence", default=0),
    )
    return Profit(provider_cost_usd=sums["cost_usd"], charged_pence=int(sums["charged"]))


def calls_to_look_at() -> int:
    return Call.objects.exclude(attention="").count()


def alerts_not_sent() -> int:
    return Alert.objects.filter(status__in=[Alert.Status.FAILED, Alert.Status.NOBODY]).count()


def payments_to_look_at() -> int:
    return TopUp.objects.exclude(attention="").count()


def refunds_under_way() -> int:
    """Those that Stripe, which answers within seconds, has not said yes or no to."""
    return Refund.objects.filter(status=Refund.Status.DEBITED, work_due_at__isnull=False).count()


def orders_to_look_at() -> int:
    return NumberOrder.objects.exclude(attention="").count()


@dataclass(frozen=True, kw_only=True)
class Numbers:
    unpaid: int
    stuck: int


def numbers_to_look_at() -> Numbers:
    counts = PhoneNumber.objects.exclude(status=PhoneNumber.Status.RELEASED).aggregate(
        unpaid=Count("pk", filter=Q(status="active", rent_unpaid_since__isnull=False)),
        stuck=Count("pk", filter=~Q(attention="")),
    )
    return Numbers(unpaid=counts["unpaid"], stuck=counts["stuck"])
