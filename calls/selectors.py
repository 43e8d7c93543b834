"""Reads of calls: pages for customers, and what calls earn for the operator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Min, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from calls.models import Call, UnbilledCall
from telephony.models import PhoneNumber
from voxbilling.api.pages import Cursor, Page, page_of
from wallets.models import CreditReservation, Organization
from wallets.pricing import connected_seconds, usd_to_pence
from wallets.selectors import CallMoney, money_of_calls, reservations_of_calls

# Calls that were charged less than Vapi charges for them; idx_calls_below_cost finds them.
BELOW_COST = Q(charged_pence__lt=F("vapi_cost_pence"))


@dataclass(frozen=True, kw_only=True)
class CallKey:
    """Where a call stands in the list of its organization's calls."""

    created_at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.created_at.isoformat()} {self.id}"

    @classmethod
    def read(cls, text: str) -> "CallKey":
        """Raises ValueError."""
        created_at, _, call_id = text.partition(" ")
        key = cls(created_at=datetime.fromisoformat(created_at), id=UUID(call_id))
        # In UTC, since others reach beyond the years that PostgreSQL can be asked about.
        if key.created_at.utcoffset() != timedelta(0):
            raise ValueError("A time that is not in UTC is no key.")
        return key


@dataclass(frozen=True, kw_only=True)
class ListedCall:
    """A call, and its figures in the ledger."""

    call: Call
    money: CallMoney

    @property
    def state(self) -> str:
        """As of the call, but that a program's call is live for as long as it is held for."""
        is_forgotten = not self.call.announced_by_vapi and not self.money.reserved_pence
        if self.call.state == Call.State.LIVE and is_forgotten:
            return Call.State.LAPSED
        return self.call.state


@dataclass(frozen=True, kw_only=True)
class CallFilter:
    """Which calls are listed; None is no condition. Days are those of the zone, both included."""

    state: str | None = None
    phone_number: str | None = None
    date_from: date | None = None
    date_to: date | None = None
    zone: tzinfo = UTC


def calls_page(
    organization_id: UUID, *, limit: int, cursor: Cursor | None, wanted: CallFilter
) -> Page[ListedCall]:
    """A page of the organization's calls, newest first by when they were first seen."""
    calls = _filtered(_of_customer(organization_id), organization_id, wanted)
    towards_newer = cursor is not None and cursor.towards_newer
    if cursor is not None:
        key, side = cursor.key, "gt" if towards_newer else "lt"
        # The first condition is what the index can begin at.
        calls = calls.filter(
            Q(**{f"created_at__{side}e": key.created_at}),
            Q(**{f"created_at__{side}": key.created_at})
            | Q(**{"created_at": key.created_at, f"id__{side}": key.id}),
        )
    sign = "" if towards_newer else "-"
    fetched = calls.order_by(f"{sign}created_at", f"{sign}id")[: limit + 1]
    page = page_of(
        list(fetched),
        limit=limit,
        cursor=cursor,
        key=lambda call: CallKey(created_at=call.created_at, id=call.pk),
    )
    return Page(
        rows=_with_money(page.rows, organization_id),
        limit=page.limit,
        next=page.next,
        previous=page.previous,
    )


def find_listed_call(organization_id: UUID, call_pk: UUID) -> ListedCall | None:
    """One of the organization's calls; None if it has none with this key."""
    calls = list(_of_customer(organization_id).filter(pk=call_pk))
    return _with_money(calls, organization_id)[0] if calls else None


def find_call_by_id(organization_id: UUID, call_id: str) -> Call | None:
    """One of the organization's calls, by either of its ids; None if it has none."""
    either = Q(call_id=call_id) | Q(vapi_call_id=call_id)
    return _of_customer(organization_id).filter(either).first()


@dataclass(frozen=True, kw_only=True)
class LiveCall:
    """A call that goes on. It costs nothing before it is connected; seconds are None then."""

    call: Call
    elapsed_seconds: int | None
    cost_pence: int
    reserved_pence: int


def live_calls(organization: Organization, *, limit: int) -> list[LiveCall]:
    """The organization's live calls, and what each would cost if it ended now; newest first."""
    calls = list(
        _of_customer(organization.pk)
        .filter(_live(organization.pk))
        .order_by("-created_at", "-id")[:limit]
    )
    holds = reservations_of_calls([call.call_id for call in calls], [organization.pk])
    return [_as_it_is(call, holds.get(call.call_id), organization) for call in calls]


def _as_it_is(call: Call, hold: CreditReservation | None, organization: Organization) -> LiveCall:
    tariff = hold.tariff if hold else organization.tariff
    now = timezone.now()
    elapsed_seconds, cost_pence = None, 0
    if call.started_at is not None:
        # Vapi's clock may be ahead of ours.
        elapsed_seconds = max((now - call.started_at) // timedelta(seconds=1), 0)
        if now > call.started_at:
            cost_pence = tariff.price(connected_seconds(call.started_at, now))
    return LiveCall(
        call=call,
        elapsed_seconds=elapsed_seconds,
        cost_pence=cost_pence,
        reserved_pence=hold.reserved_pence if hold and hold.is_active else 0,
    )


def _of_customer(organization_id: UUID) -> QuerySet[Call]:
    return (
        Call.objects.filter(organization_id=organization_id)
        .select_related("phone_number")
        .only(
            "organization_id",
            "call_id",
            "vapi_call_id",
            "type",
            "phone_number__number",
            "announced_by_vapi",
            "created_at",
            "started_at",
            "ended_at",
            "ended_reason",
            "duration_seconds",
            "settled_at",
            "settled_from",
            "charged_pence",
            "uncollected_pence",
            "not_charged_because",
        )
    )


def _live(organization_id: UUID) -> Q:
    """Vapi tells of the end of its calls; a program may forget its own, whose holds then lapse."""
    held = CreditReservation.objects.filter(
        organization_id=organization_id, status=CreditReservation.Status.ACTIVE
    )
    is_held = Q(call_id__in=held.values("call_id"))
    return Q(ended_at=None) & (Q(announced_by_vapi=True) | is_held)


def _filtered(calls: QuerySet[Call], organization_id: UUID, wanted: CallFilter) -> QuerySet[Call]:
    if wanted.state == Call.State.LIVE:
        calls = calls.filter(_live(organization_id))
    elif wanted.state == Call.State.SETTLED:
        calls = calls.filter(settled_at__isnull=False, ended_at__isnull=False)
    if wanted.phone_number is not None:
        # Looked up first, so that the index of a number's calls can be read in its order.
        numbers = PhoneNumber.objects.filter(
            organization_id=organization_id, number=wanted.phone_number
        )
        calls = calls.filter(phone_number_id__in=list(numbers.values_list("pk", flat=True)))
    if wanted.date_from is not None:
        calls = calls.filter(
            created_at__gte=datetime.combine(wanted.date_from, time.min, wanted.zone)
        )
    if wanted.date_to is not None:
        calls = calls.filter(
            created_at__lte=datetime.combine(wanted.date_to, time.max, wanted.zone)
        )
    return calls


def _with_money(calls: Sequence[Call], organization_id: UUID) -> list[ListedCall]:
    money = money_of_calls([call.call_id for call in calls], organization_id)
    return [ListedCall(call=call, money=money[call.call_id]) for call in calls]


@dataclass(frozen=True, kw_only=True)
class Profit:
    """What the calls that ended in a time cost the operator and earned it, in pence.

    `margin_percent` is the profit in proportion to what was charged; None if nothing was.
    """

    provider_cost_usd: Decimal = Decimal(0)
    charged_pence: int = 0

    @property
    def provider_cost_pence(self) -> int:
        return usd_to_pence(self.provider_cost_usd, settings.USD_TO_GBP_RATE)

    @property
    def gross_profit_pence(self) -> int:
        return self.charged_pence - self.provider_cost_pence

    @property
    def margin_percent(self) -> float | None:
        if not self.charged_pence:
            return None
        return round(100 * self.gross_profit_pence / self.charged_pence, 1)


@dataclass(frozen=True, kw_only=True)
class ProfitReport:
    """Profit in all and day by day, oldest first. The total is rounded once, and not by day."""

    total: Profit
    by_day: dict[date, Profit]


def profit(organization_id: UUID, *, days: int) -> ProfitReport:
    """What an organization's calls earned on the last `days` days of UTC, today included."""
    today = timezone.now().astimezone(UTC).date()
    first_day = today - timedelta(days=days - 1)
    by_day = {first_day + timedelta(days=number): Profit() for number in range(days)}
    total = Profit()
    sums = (
        Call.objects.filter(
            organization_id=organization_id,
            ended_at__gte=datetime.combine(first_day, time.min, UTC),
            ended_at__lte=datetime.combine(today, time.max, UTC),
        )
        .values(day=TruncDate("ended_at", tzinfo=UTC))
        .annotate(cost_usd=Sum("vapi_cost_usd"), charged=Sum("charged_pence"))
        .order_by()
    )
    for row in sums:
        earned = Profit(
            provider_cost_usd=row["cost_usd"] or Decimal(0), charged_pence=row["charged"] or 0
        )
        by_day[row["day"]] = earned
        total = replace(
            total,
            provider_cost_usd=total.provider_cost_usd + earned.provider_cost_usd,
            charged_pence=total.charged_pence + earned.charged_pence,
        )
    return ProfitReport(total=total, by_day=by_day)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """What an organization's calls that ended on a day of UTC cost the operator and earned it."""

    day: date
    organization_name: str
    calls: int
    calls_below_cost: int
    profit: Profit


def margins(*, days: int) -> list[Margin]:
    """Every organization's margin on the last `days` days of UTC, today included, newest first."""
    today = timezone.now().astimezone(UTC).date()
    rows = (
        Call.objects.filter(
            ended_at__gte=datetime.combine(today - timedelta(days=days - 1), time.min, UTC)
        )
        .values("organization", "organization__name", day=TruncDate("ended_at", tzinfo=UTC))
        .annotate(
            calls=Count("pk"),
            below_cost=Count("pk", filter=BELOW_COST),
            cost_usd=Sum("vapi_cost_usd"),
            charged=Sum("charged_pence"),
        )
        .order_by("-day", "organization__name", "organization")
    )
    return [
        Margin(
            day=row["day"],
            organization_name=row["organization__name"],
            calls=row["calls"],
            calls_below_cost=row["below_cost"],
            profit=Profit(
                provider_cost_usd=row["cost_usd"] or Decimal(0), charged_pence=row["charged"] or 0
            ),
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class CallFigures:
    """What those who watch a deployment ask of its calls.

    Latencies are the seconds from when a call's money ended to when the call ended, below 0 if it
    ended before; of the calls that were ended by us in the last hour, None if none was. What all
    calls that ended in it cost beyond their money is the overrun, whether we saw it end or not.
    """

    live: int
    being_ended: int
    oldest_end_ordered_at: datetime | None
    to_review: int
    oldest_to_review_ended_at: datetime | None
    awaiting_report: int
    unbilled: int
    ended_by_us: int
    overrun_pence: int
    end_latency_p50_seconds: float | None
    end_latency_p99_seconds: float | None


_ENDS = """
SELECT count(late),
    coalesce(sum(uncollected_pence), 0)::bigint,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY late),
    percentile_cont(0.99) WITHIN GROUP (ORDER BY late)
FROM (
    SELECT extract(epoch FROM ended_at - money_ended_at)::float8 AS late, uncollected_pence
    FROM calls
    WHERE ended_at >= %s
) AS ended
"""


def call_figures() -> CallFigures:
    """The figures as they are now; each is counted by an index of the few rows that it is about."""
    with connection.cursor() as cursor:
        cursor.execute(_ENDS, [timezone.now() - timedelta(hours=1)])
        ended_by_us, overrun_pence, p50, p99 = cursor.fetchone()
    live = Call.objects.filter(ended_at=None, announced_by_vapi=True).aggregate(
        all=Count("pk"), being_ended=Count("end_ordered_at"), ordered=Min("end_ordered_at")
    )
    to_review = Call.objects.exclude(review_reason="").aggregate(
        all=Count("pk"), oldest=Min("ended_at")
    )
    return CallFigures(
        live=live["all"],
        being_ended=live["being_ended"],
        oldest_end_ordered_at=live["ordered"],
        to_review=to_review["all"],
        oldest_to_review_ended_at=to_review["oldest"],
        awaiting_report=Call.objects.filter(
            reconcile_at__isnull=False, ended_at__isnull=False
        ).count(),
        unbilled=UnbilledCall.objects.count(),
        ended_by_us=ended_by_us,
        overrun_pence=overrun_pence,
        end_latency_p50_seconds=p50,
        end_latency_p99_seconds=p99,
    )
