"""Statements: a page for each month, made to be printed, and the same as CSV."""

import csv
import io
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from rest_framework.exceptions import Throttled

from voxbilling.api import throttles
from wallets import selectors, statements
from wallets.access import Access
from wallets.formats import plain_pounds
from wallets.models import CreditTransaction
from wallets.pages.base import reads, too_many
from wallets.statements import Statement

# A page that is longer helps nobody; the CSV has all of them.
ENTRIES_ON_A_PAGE = 1_000
CSV_COLUMNS = (
    "number",
    "time",
    "type",
    "description",
    "amount_gbp",
    "balance_gbp",
    "owed_gbp",
    "call_id",
    "entry_id",
)
# What a spreadsheet would take for the beginning of a formula.
_FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")


@never_cache
@require_safe
@reads
def months(request: HttpRequest, access: Access) -> HttpResponse:
    """Every month that has a statement."""
    organization = selectors.wallet(access.organization_id)
    context = {"access": access, "wallet": organization, "months": statements.months(organization)}
    return TemplateResponse(request, "wallets/statements.html", context)


@never_cache
@require_safe
@reads
def statement(request: HttpRequest, access: Access, month: str) -> HttpResponse:
    """A month's statement."""
    try:
        shown = _statement(access, month)
    except ValueError as problem:
        return _no_month(request, access, problem)
    entries = [
        entry for batch in statements.entries_of(shown, most=ENTRIES_ON_A_PAGE) for entry in batch
    ]
    context = {
        "access": access,
        "wallet": shown.organization,
        "statement": shown,
        "entries": entries,
        "left_out": shown.count - len(entries),
    }
    return TemplateResponse(request, "wallets/statement.html", context)


@never_cache
@require_safe
@reads
def statement_csv(request: HttpRequest, access: Access) -> Any:
    """A month's entries, oldest first; amounts in pounds, what was taken below 0."""
    try:
        shown = _statement(access, request.GET.get("month", ""))
    except ValueError as problem:
        return _no_month(request, access, problem)
    try:
        throttles.count(throttles.DOWNLOADS_PER_ORGANIZATION, str(access.organization_id))
    except Throttled as throttled:
        return too_many(request, throttled)
    response = StreamingHttpResponse(_lines(shown), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="statement-{shown.month}.csv"'
    return response


def _statement(access: Access, month: str) -> Statement:
    """Raises ValueError."""
    organization = selectors.wallet(access.organization_id)
    return statements.statement(organization, statements.read_month(month))


def _no_month(request: HttpRequest, access: Access, problem: ValueError) -> HttpResponse:
    organization = selectors.wallet(access.organization_id)
    context = {
        "access": access,
        "wallet": organization,
        "months": statements.months(organization),
        "problem": str(problem),
    }
    return TemplateResponse(request, "wallets/statements.html", context, status=400)


def _lines(shown: Statement) -> Iterator[str]:
    yield _csv([CSV_COLUMNS])
    zone = ZoneInfo(shown.organization.time_zone)
    for entries in statements.entries_of(shown):
        yield _csv(_row(entry, zone) for entry in entries)


def _row(entry: CreditTransaction, zone: ZoneInfo) -> tuple[object, ...]:
    sign = 1 if entry.direction == CreditTransaction.Direction.CREDIT else -1
    return (
        entry.sequence,
        entry.created_at.astimezone(zone).isoformat(timespec="seconds"),
        entry.type,
        _text(entry.description),
        plain_pounds(sign * entry.amount_pence),
        plain_pounds(entry.balance_after_pence),
        plain_pounds(entry.owed_after_pence),
        _text(entry.reservation.call_id) if entry.reservation else "",
        entry.pk,
    )


def _text(text: str) -> str:
    """Text that no spreadsheet calculates: a quote in front says that it is text."""
    return f"'{text}" if text.startswith(_FORMULA_BEGINNINGS) else text


def _csv(rows: Any) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
