"""Structured logs: JSON in production, lines for people in DEBUG; secrets never reach either."""

import logging
import logging.config
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
import structlog.tracebacks

from voxbilling import error_reports
from voxbilling.redaction import redact, redact_json, redact_names, redact_text

# Without the values of local variables: they hold control URLs and callers' words.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def learn(**ids: object) -> None:
    """Have all further lines of this request or task say what they are about; None is left out."""
    known = {name: str(value) for name, value in ids.items() if value}
    structlog.contextvars.bind_contextvars(**known)


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """A block about one of many things: what is learned of it is forgotten at its end."""
    before = structlog.contextvars.get_contextvars()
    learn(**ids)
    try:
        yield
    finally:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**before)


def _report_errors(
    _logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if method in ("error", "exception", "critical"):
        error = sys.exc_info()[1] if event.get("exc_info") else None
        error_reports.report_logged(dict(event), error)
    return event


def _redact_names(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    return redact_names(event)


def _redact_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    # As they are before JSON writes their quotes and letters in its own way.
    return {name: redact(value) for name, value in event.items()}


def configure(*, json: bool) -> None:
    """Send structlog and the standard library's logging to stderr in one format."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact_names,
    ]
    renderer: list[Any] = (
        [
            structlog.processors.ExceptionRenderer(_TRACEBACK),
            _redact_values,
            structlog.processors.JSONRenderer(),
            lambda _logger, _method, line: redact_json(line),
        ]
        if json
        else [
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
            lambda _logger, _method, line: redact_text(line),
        ]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *renderer,
                    ],
                }
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "structured"},
            },
            "root": {"handlers": ["stderr"], "level": "INFO"},
            "loggers": {
                # httpx logs whole URLs, and a control URL is a secret.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                # A sweep every few seconds is no news; what it did is logged by itself.
                "celery.beat": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[
            *shared[:1],
            structlog.stdlib.filter_by_level,
            *shared[1:],
            _report_errors,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
