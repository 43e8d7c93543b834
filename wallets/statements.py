"""The ledger over time: statements by month and spend by day, in the organization's time zone.

A month's entries are those after the last entry before it, by the numbers of the ledger and not by
their times: so each entry is in one statement, and each statement begins where another ended.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import BigIntegerField, Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncDate
from django.utils import timezone

from wallets.models import CreditTransaction, Organization

_ENTRIES_PER_READ = 1_000
# Servers whose clocks differ date entries in another order than that of the ledger.
_CLOCKS_DIFFER_AT_MOST = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, order=True)
class Month:
    """A calendar month."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def following(self) -> "Month":
        return month_of(self.first_day + timedelta(days=31))

    @property
    def preceding(self) -> "Month":
        return month_of(self.first_day - timedelta(days=1))


def month_of(day: date) -> Month:
    return Month(year=day.year, month=day.month)


def read_month(text: str) -> Month:
    """The month that is written like 2026-11. Raises ValueError, with what to write instead."""
    found = re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", text)
    if found is None:
        raise ValueError("Name the month by year and number, like 2026-11.")
    return Month(year=int(found[1]), month=int(found[2]))


@dataclass(frozen=True, kw_only=True)
class TypeTotal:
    """The entries of one type in a statement: how many, and what they added and took."""

    name: str
    count: int
    credit_pence: int
    debit_pence: int


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A month of an organization's ledger. Amounts are in pence, owed beside the balance."""

    organization: Organization
    month: Month
    is_running: bool
    opening_balance_pence: int
    closing_balance_pence: int
    opening_owed_pence: int
    closing_owed_pence: int
    totals: tuple[TypeTotal, ...]
    after_sequence: int
    last_sequence: int

    @property
    def count(self) -> int:
        return self.last_sequence - self.after_sequence

    @property
    def is_owed_something(self) -> bool:
        return bool(self.opening_owed_pence or self.closing_owed_pence)


def months(organization: Organization) -> list[Month]:
    """The months that the organization has statements of, the present one first."""
    zone = ZoneInfo(organization.time_zone)
    first = month_of(organization.created_at.astimezone(zone).date())
    entries = _entries(organization)
    if oldest := entries.order_by("sequence").first():
        first = min(first, month_of(oldest.created_at.astimezone(zone).date()))
    month = month_of(timezone.now().astimezone(zone).date())
    found = [month]
    while month > first:
        month = month.preceding
        found.append(month)
    return found


def statement(organization: Organization, month: Month) -> Statement:
    """The statement of a month; of the present one, as far as it has come."""
    zone = ZoneInfo(organization.time_zone)
    opening = _last_entry_before(organization, month.first_day, zone)
    is_running = timezone.now() < _begin(month.following.first_day, zone)
    if is_running:
        # All that there is, whatever a clock that is ahead has dated it.
        closing = _entries(organization).order_by("-sequence").first()
    else:
        closing = _last_entry_before(organization, month.following.first_day, zone)
    after_sequence = opening.sequence if opening else 0
    last_sequence = closing.sequence if closing else 0
    return Statement(
        organization=organization,
        month=month,
        is_running=is_running,
        opening_balance_pence=opening.balance_after_pence if opening else 0,
        closing_balance_pence=closing.balance_after_pence if closing else 0,
        opening_owed_pence=opening.owed_after_pence if opening else 0,
        closing_owed_pence=closing.owed_after_pence if closing else 0,
        totals=_totals(_between(organization.pk, after_sequence, last_sequence)),
        after_sequence=after_sequence,
        last_sequence=last_sequence,
    )


def entries_of(shown: Statement, *, most: int | None = None) -> Iterator[list[CreditTransaction]]:
    """The statement's entries, oldest first, some hundred at a time; the first `most` of them."""
    at = shown.after_sequence
    end = shown.last_sequence if most is None else min(shown.last_sequence, at + most)
    while at < end:
        until = min(at + _ENTRIES_PER_READ, end)
        entries = _between(shown.organization.pk, at, until).select_related("reservation")
        yield list(entries.order_by("sequence"))
        at = until


def _last_entry_before(
    organization: Organization, day: date, zone: ZoneInfo
) -> CreditTransaction | None:
    """The last by its number, of those that are dated before the day."""
    entries = _entries(organization).filter(created_at__lt=_begin(day, zone))
    latest = entries.order_by("-created_at", "-sequence").first()
    if latest is None:
        return None
    near = entries.filter(created_at__gte=latest.created_at - _CLOCKS_DIFFER_AT_MOST)
    return near.order_by("-sequence").first()


def _entries(organization: Organization) -> QuerySet[CreditTransaction]:
    return CreditTransaction.objects.filter(organization=organization)


def _begin(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone)


def _between(
    organization_id: UUID, after_sequence: int, last_sequence: int
) -> QuerySet[CreditTransaction]:
    return CreditTransaction.objects.filter(
        organization_id=organization_id,
        sequence__gt=after_sequence,
        sequence__lte=last_sequence,
    )


def _totals(entries: QuerySet[CreditTransaction]) -> tuple[TypeTotal, ...]:
    credit, debit = CreditTransaction.Direction
    sums = (
        entries.values("type")
        .annotate(
            count=Count("pk"),
            credit=Sum("amount_pence", filter=Q(direction=credit), default=0),
            debit=Sum("amount_pence", filter=Q(direction=debit), default=0),
        )
        .order_by("type")
    )
    return tuple(
        TypeTotal(
            name=CreditTransaction.Type(row["type"]).label,
            count=row["count"],
            credit_pence=row["credit"],
            debit_pence=row["debit"],
        )
        for row in sums
    )


@dataclass(frozen=True, kw_only=True)
class DaySpend:
    """What was spent on a day, in pence; below 0 if more was given back than spent."""

    day: date
    spent_pence: int


def spend_by_day(organization: Organization, *, days: int) -> list[DaySpend]:
    """What was spent on each of the last days, oldest first, today included.

    It counts what `Organization.total_spent_pence` counts.
    """
    zone = ZoneInfo(organization.time_zone)
    first_day = timezone.now().astimezone(zone).date() - timedelta(days=days - 1)
    types = CreditTransaction.Type
    spent = Case(
        When(type=types.REFUND, then=-F("amount_pence")),
        When(type__in=CreditTransaction.SPENDING_TYPES, then=F("amount_pence")),
        # The correction of a call, either way.
        When(
            type=types.ADJUSTMENT,
            reservation__isnull=False,
            then=F("balance_before_pence") - F("balance_after_pence"),
        ),
        default=0,
        output_field=BigIntegerField(),
    )
    sums = (
        CreditTransaction.objects.filter(
            organization=organization, created_at__gte=_begin(first_day, zone)
        )
        .values(day=TruncDate("created_at", tzinfo=zone))
        .annotate(spent=Sum(spent))
        .order_by()
        .values_list("day", "spent")
    )
    by_day = dict(sums)
    all_days = (first_day + timedelta(days=number) for number in range(days))
    return [DaySpend(day=day, spent_pence=by_day.get(day, 0)) for day in all_days]
