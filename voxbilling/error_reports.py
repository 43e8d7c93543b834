"""Reports of errors to Sentry, where SENTRY_DSN names one: what went wrong, and with what.

Nothing that people said or sent goes along: no bodies, headers, cookies, queries or values of
variables, and what is left is redacted as the log is. Errors are what nobody caught, and what we
log as an error by structlog, with the ids that its line has; what libraries log is not reported.
"""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event
from structlog.contextvars import get_contextvars

from voxbilling.redaction import redact, redact_text

IDS = ("request_id", "event_id", "call_id", "vapi_call_id", "organization_id", "user_id", "task_id")
# The parts of a report that are ours to tell; people's words are in all others.
_KEPT = {
    *("event_id", "timestamp", "level", "logger", "platform", "release", "environment"),
    *("message", "logentry", "exception", "tags", "fingerprint", "sdk", "server_name"),
    *("transaction", "transaction_info", "type", "modules"),
}


def start(dsn: str, **options: Any) -> None:
    """Report errors from now on; without a DSN, nothing is started."""
    if not dsn:
        return
    sentry_sdk.init(
        dsn=dsn,
        # What is not named here would hook into logging, HTTP clients and databases.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda _pending, _timeout: None),
            CeleryIntegration(),
            DedupeIntegration(),
            DjangoIntegration(middleware_spans=False, signals_spans=False, cache_spans=False),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_scope=False),
        ],
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=_fit_to_leave,
        **options,
    )


def report_logged(line: dict[str, Any], error: BaseException | None) -> None:
    """Report what is logged as an error."""
    if not sentry_sdk.is_initialized():
        return
    with sentry_sdk.new_scope() as scope:
        scope.set_tags({name: str(line[name]) for name in IDS if name in line})
        scope.set_tag("event", str(line.get("event", "")))
        if error is not None:
            scope.capture_exception(error)
        else:
            scope.capture_message(str(line.get("event", "")), level="error")


def _fit_to_leave(event: Event, _hint: dict[str, Any]) -> Event:
    known = {name: value for name, value in get_contextvars().items() if name in IDS}
    tags = {**known, **dict(event.get("tags") or {})}
    kept: Any = redact({name: value for name, value in event.items() if name in _KEPT})
    kept["tags"] = {name: redact_text(str(value)) for name, value in tags.items()}
    return kept  # type: ignore[no-any-return]
