"""What staff see first: the business as it is now, each figure with a link to what it is made of.

A fixed number of statements, of which none takes longer with the history.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from calls.selectors import call_figures
from voxbilling.operations import business
from voxbilling.valkey import UNREACHABLE
from wallets.checking import last_check
from wallets.formats import pounds
from webhooks.selectors import stuck_events


@dataclass(frozen=True, kw_only=True)
class Figure:
    title: str
    value: str
    url: str
    detail: str = ""
    is_trouble: bool = False


def show(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What unfold's index page is rendered with. Money is for those who may see wallets."""
    if not request.user.has_perm("wallets.view_organization"):
        return context
    burn = business.burn_now()
    return context | {
        "business": _business(burn),
        "trouble": _trouble(),
        "running_dry": burn.running_dry,
    }


def _list(model: str, **query: str) -> str:
    return reverse(f"admin:{model}_changelist", query=query or None)


def _business(burn: business.Burn) -> list[Figure]:
    now = timezone.now()
    midnight = datetime.combine(now.astimezone(UTC).date(), time.min, UTC)
    wallets = business.wallets_now()
    profit = business.profit_since(midnight)
    today = {"created_at__gte": midnight.isoformat()}
    margin = "–" if profit.margin_percent is None else f"{profit.margin_percent} %"
    return [
        Figure(
            title="Money held for customers",
            value=pounds(wallets.balance_pence),
            detail=f"{pounds(wallets.held_pence)} of it held for calls",
            url=_list("wallets_organization"),
        ),
        Figure(
            title="Live calls",
            value=str(burn.calls),
            detail=f"{pounds(burn.pence_per_minute)} a minute",
            url=_list("calls_call", attention="live"),
        ),
        Figure(
            title="Taken today (UTC)",
            value=pounds(business.taken_since(midnight)),
            detail="calls, numbers and what was owed, less refunds",
            url=_list("wallets_credittransaction", **today),
        ),
        Figure(
            title="Calls ended today",
            value=pounds(profit.charged_pence),
            detail=f"cost {pounds(profit.provider_cost_pence)}, "
            f"profit {pounds(profit.gross_profit_pence)}, margin {margin}",
            url=reverse("admin:calls_call_margin"),
        ),
        Figure(
            title="Owed",
            value=pounds(wallets.owed_pence),
            detail=f"by {wallets.owing} organizations",
            url=_list("wallets_organization", needs="owes"),
            is_trouble=wallets.owed_pence > 0,
        ),
        Figure(
            title="Low balances",
            value=str(wallets.low),
            detail="organizations below their own bound",
            url=_list("wallets_organization", needs="low"),
        ),
        Figure(
            title="Suspended",
            value=str(wallets.suspended),
            detail="organizations",
            url=_list("wallets_organization", status__exact="suspended"),
        ),
        _ledger(now),
    ]


def _ledger(now: datetime) -> Figure:
    url = reverse("admin:wallets_organization_ledger_check")
    try:
        last = last_check()
    except UNREACHABLE:
        return Figure(
            title="Ledger check",
            value="not known",
            detail="Valkey, which remembers it, does not answer",
            url=url,
            is_trouble=True,
        )
    if last is None:
        return Figure(title="Ledger check", value="not yet", detail="check it now", url=url)
    hours = (now - last.at) // timedelta(hours=1)
    return Figure(
        title="Ledger check",
        value=f"{last.differences} differences" if last.differences else "adds up",
        detail="checked within the hour" if hours < 1 else f"checked {hours} h ago",
        url=url,
        # It is checked every hour.
        is_trouble=last.differences > 0 or hours >= 2,
    )


def _trouble() -> list[Figure]:
    calls = call_figures()
    numbers = business.numbers_to_look_at()
    counted = [
        ("Calls to review", calls.to_review, _list("calls_call", attention="review")),
        ("Ended, no report yet", calls.awaiting_report, _list("calls_call", attention="asked")),
        ("Calls to look at", business.calls_to_look_at(), _list("calls_call", attention="needed")),
        ("Unbilled calls", calls.unbilled, _list("calls_unbilledcall")),
        ("Stuck messages", stuck_events().count(), _list("webhooks_webhookevent", needs="stuck")),
        ("Alerts not sent", business.alerts_not_sent(), _list("wallets_alert", needs="unsent")),
        (
            "Payments to look at",
            business.payments_to_look_at(),
            _list("wallets_topup", attention="yes"),
        ),
        (
            "Refunds under way",
            business.refunds_under_way(),
            _list("wallets_refund", status__exact="debited"),
        ),
        (
            "Orders stuck",
            business.orders_to_look_at(),
            _list("telephony_numberorder", progress="attention"),
        ),
        ("Numbers unpaid", numbers.unpaid, _list("telephony_phonenumber", needs="money")),
        ("Numbers stuck", numbers.stuck, _list("telephony_phonenumber", needs="attention")),
    ]
    return [
        Figure(title=title, value=str(count), url=url, is_trouble=count > 0)
        for title, count, url in counted
    ]
