"""Figures for Prometheus, read from the database when they are asked for.

They are the deployment's, not a process's: whichever web process answers, they are the same.
"""

import hmac
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from calls.selectors import call_figures
from wallets.selectors import wallet_figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures, for whoever knows METRICS_TOKEN; without one they are shown with DEBUG only."""
    if not settings.METRICS_TOKEN and not settings.DEBUG:
        return _text("Set METRICS_TOKEN to have metrics served.\n", status=404)
    if settings.METRICS_TOKEN and not _knows_the_token(request):
        return _text("Send METRICS_TOKEN as a bearer token.\n", status=401)
    try:
        return _text("".join(map(_lines, _figures())), status=200)
    except DatabaseError:
        unavailable = _text("The database is not available.\n", status=503)
        unavailable["Retry-After"] = "5"
        return unavailable


def _knows_the_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        token.strip().encode(), settings.METRICS_TOKEN.encode()
    )


Figure = tuple[str, str, dict[str, float | None]]


def _figures() -> list[Figure]:
    """Name, meaning, and values by their labels; a value that is not known is left out."""
    wallets, calls = wallet_figures(), call_figures()
    return [
        ("owed_pence", "Owed by all organizations.", {"": wallets.owed_pence}),
        ("held_pence", "Held for calls of all organizations.", {"": wallets.held_pence}),
        (
            "oldest_hold_age_seconds",
            "Age of the oldest active hold; 0 for none.",
            {"": _age_seconds(wallets.oldest_hold_made_at)},
        ),
        ("live_calls", "Calls that Vapi announced and that have not ended.", {"": calls.live}),
        ("calls_being_ended", "Live calls that were ordered to end.", {"": calls.being_ended}),
        ("calls_to_review", "Calls that staff have to decide on.", {"": calls.to_review}),
        (
            "oldest_call_to_review_age_seconds",
            "How long ago the first of them ended; 0 for none.",
            {"": _age_seconds(calls.oldest_to_review_ended_at)},
        ),
        (
            "calls_awaiting_report",
            "Ended calls of which neither report nor record has come.",
            {"": calls.awaiting_report},
        ),
        ("calls_unbilled", "Calls on Vapi's bill and on nobody's here.", {"": calls.unbilled}),
        (
            "calls_ended_for_money",
            "Calls that were ended for want of money, in the last hour.",
            {"": calls.ended_by_us},
        ),
        (
            "overrun_pence",
            "What those calls cost beyond their money.",
            {"": calls.overrun_pence},
        ),
        (
            "end_latency_seconds",
            "From the end of a call's money to its end, in the last hour; below 0 is before.",
            {
                '{quantile="0.5"}': calls.end_latency_p50_seconds,
                '{quantile="0.99"}': calls.end_latency_p99_seconds,
            },
        ),
    ]


def _age_seconds(moment: datetime | None) -> float:
    return (timezone.now() - moment).total_seconds() if moment else 0


def _lines(figure: Figure) -> str:
    name, meaning, values = figure
    lines = [f"# HELP voxbilling_{name} {meaning}", f"# TYPE voxbilling_{name} gauge"]
    lines += [
        f"voxbilling_{name}{labels} {value}"
        for labels, value in values.items()
        if value is not None
    ]
    return "\n".join(lines) + "\n"


def _text(text: str, *, status: int) -> HttpResponse:
    response = HttpResponse(text, status=status, content_type=CONTENT_TYPE)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    response["Cache-Control"] = "no-store"
    return response
