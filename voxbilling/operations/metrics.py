"""Figures for Prometheus: read from the database when they are asked for, or counted by processes.

They are the deployment's, not a process's: whichever web process answers, they are the same.
"""

import hmac
import time
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from calls.selectors import call_figures
from voxbilling import counts, heartbeat
from voxbilling.celery import periodic_tasks
from voxbilling.counts import BUCKETS_SECONDS, Durations, Labelled, Occurrences
from voxbilling.valkey import UNREACHABLE
from wallets.checking import LedgerCheck, last_check
from wallets.selectors import wallet_figures
from webhooks.selectors import inbox_figures

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PREFIX = "voxbilling_"


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures, for whoever knows METRICS_TOKEN; without one they are shown with DEBUG only."""
    if not settings.METRICS_TOKEN and not settings.DEBUG:
        return _text("Set METRICS_TOKEN to have metrics served.\n", status=404)
    if settings.METRICS_TOKEN and not _knows_the_token(request):
        return _text("Send METRICS_TOKEN as a bearer token.\n", status=401)
    try:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Figures())
        return _text(generate_latest(registry).decode(), status=200)
    except DatabaseError:
        unavailable = _text("The database is not available.\n", status=503)
        unavailable["Retry-After"] = "5"
        return unavailable


def _knows_the_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        token.strip().encode(), settings.METRICS_TOKEN.encode()
    )


class _Figures(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _of_wallets()
        yield from _of_calls()
        yield from _of_the_inbox()
        try:
            counted, beats = counts.read(), heartbeat.read(periodic_tasks())
            ledger = last_check()
        except UNREACHABLE:
            yield _gauge("counts_available", "Whether Valkey answers, which has the counts.", 0)
            return
        yield _gauge("counts_available", "Whether Valkey answers, which has the counts.", 1)
        yield from _of_processes(counted)
        yield from _of_sweeps(beats)
        yield from _of_the_ledger(ledger)


def _of_wallets() -> Iterator[Metric]:
    wallets = wallet_figures()
    yield _gauge("owed_pence", "Owed by all organizations.", wallets.owed_pence)
    yield _gauge("held_pence", "Held for calls of all organizations.", wallets.held_pence)
    yield _gauge(
        "oldest_hold_age_seconds",
        "Age of the oldest active hold; 0 for none.",
        _age_seconds(wallets.oldest_hold_made_at),
    )
    yield _gauge("alerts_waiting", "E-mails that are not sent yet.", wallets.alerts_waiting)
    yield _gauge(
        "oldest_alert_age_seconds",
        "How long the oldest of them has waited; 0 for none.",
        _age_seconds(wallets.oldest_alert_raised_at),
    )
    yield _gauge(
        "alerts_given_up",
        "E-mails that nobody gets, unless staff act; at most 1000 are counted.",
        wallets.alerts_given_up,
    )
    yield _gauge(
        "topups_processing",
        "Top-ups that were paid by a method that takes days.",
        wallets.topups_processing,
    )


def _of_calls() -> Iterator[Metric]:
    calls = call_figures()
    yield _gauge("live_calls", "Calls that Vapi announced and that have not ended.", calls.live)
    yield _gauge("calls_being_ended", "Live calls that were ordered to end.", calls.being_ended)
    yield _gauge(
        "oldest_end_order_age_seconds",
        "How long ago the first of them was; 0 for none.",
        _age_seconds(calls.oldest_end_ordered_at),
    )
    yield _gauge("calls_to_review", "Calls that staff have to decide on.", calls.to_review)
    yield _gauge(
        "oldest_call_to_review_age_seconds",
        "How long ago the first of them ended; 0 for none.",
        _age_seconds(calls.oldest_to_review_ended_at),
    )
    yield _gauge(
        "calls_awaiting_report",
        "Ended calls of which neither report nor record has come.",
        calls.awaiting_report,
    )
    yield _gauge("calls_unbilled", "Calls on Vapi's bill and on nobody's here.", calls.unbilled)
    yield _gauge(
        "calls_ended_for_money",
        "Calls that were ended for want of money, in the last hour.",
        calls.ended_by_us,
    )
    yield _gauge(
        "overrun_pence",
        "What the calls that ended in the last hour cost beyond their money.",
        calls.overrun_pence,
    )
    latencies = GaugeMetricFamily(
        f"{PREFIX}end_latency_seconds",
        "From the end of a call's money to its end, in the last hour; below 0 is before.",
        labels=["quantile"],
    )
    for quantile, seconds in (
        ("0.5", calls.end_latency_p50_seconds),
        ("0.99", calls.end_latency_p99_seconds),
    ):
        if seconds is not None:
            latencies.add_metric([quantile], seconds)
    yield latencies


def _of_the_inbox() -> Iterator[Metric]:
    inbox = inbox_figures()
    events = GaugeMetricFamily(
        f"{PREFIX}webhook_events",
        "Messages that are not processed, by status; at most 1000 are counted.",
        labels=["status"],
    )
    for status, count in inbox.by_status.items():
        events.add_metric([status], count)
    yield events
    yield _gauge(
        "oldest_webhook_event_age_seconds",
        "How long the oldest message that is to be processed has waited; 0 for none.",
        _age_seconds(inbox.oldest_pending_received_at),
    )


def _of_processes(counted: dict[str, Labelled]) -> Iterator[Metric]:
    for each in counts.ALL:
        name, labels = f"{PREFIX}{each.name}", list(each.labels)
        if isinstance(each, counts.Occurrences):
            occurrences = CounterMetricFamily(name, each.meaning, labels=labels)
            for values, parts in _with_zeros(each, counted).items():
                occurrences.add_metric(list(values), parts.get("count", 0))
            yield occurrences
        else:
            durations = HistogramMetricFamily(name, each.meaning, labels=labels)
            for values, parts in _with_zeros(each, counted).items():
                durations.add_metric(list(values), _cumulated(parts), parts.get("sum", 0))
            yield durations


def _with_zeros(each: Durations | Occurrences, counted: dict[str, Labelled]) -> Labelled:
    """What was counted, and 0 for what is asked about before: rates see the first, too."""
    return {**{values: {} for values in each.always}, **counted[each.name]}


def _cumulated(parts: dict[str, float]) -> list[tuple[str, float]]:
    """How many took at most so long, for each bound."""
    total = 0.0
    buckets = []
    for bound in [*map(str, BUCKETS_SECONDS), "+Inf"]:
        total += parts.get(bound, 0)
        buckets.append((bound, total))
    return buckets


def _of_sweeps(beats: heartbeat.Heartbeat) -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        f"{PREFIX}sweep_age_seconds",
        "Since a periodic task last ended well, or since beat first ran.",
        labels=["task"],
    )
    intervals = GaugeMetricFamily(
        f"{PREFIX}sweep_interval_seconds", "How often beat publishes it.", labels=["task"]
    )
    for task, interval_seconds in periodic_tasks().items():
        since = beats.finished.get(task, beats.since)
        intervals.add_metric([task], interval_seconds)
        if since is not None:
            ages.add_metric([task], time.time() - since)
    yield ages
    yield intervals


def _of_the_ledger(last: LedgerCheck | None) -> Iterator[Metric]:
    # Before the first check, nobody knows.
    if last is not None:
        yield _gauge(
            "ledger_differences", "Figures that differed at the last check.", last.differences
        )
        yield _gauge(
            "ledger_check_age_seconds", "How long ago that check was.", _age_seconds(last.at)
        )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", meaning, value=value)


def _age_seconds(moment: datetime | None) -> float:
    return (timezone.now() - moment).total_seconds() if moment else 0


def _text(text: str, *, status: int) -> HttpResponse:
    response = HttpResponse(text, status=status, content_type=CONTENT_TYPE)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    response["Cache-Control"] = "no-store"
    return response
