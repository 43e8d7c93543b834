"""Structured logs: JSON in production, lines for people in DEBUG; secrets never reach either."""

import logging
import logging.config
import re
from collections.abc import MutableMapping
from typing import Any

import structlog
import structlog.tracebacks

# Names under which secrets and callers' words travel. A value logged under one is replaced.
_SECRET_NAME = re.compile(
    r"secret|token|password|authorization|api_?key|signature|control_?url|transcript|prompt", re.I
)


# Without the values of local variables: they hold control URLs and callers' words.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values whose name says that they are secret."""
    for name in event:
        if _SECRET_NAME.search(name):
            event[name] = "[redacted]"
    return event


def configure(*, json: bool) -> None:
    """Send structlog and the standard library's logging to stderr in one format."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    renderer: list[Any] = (
        [structlog.processors.ExceptionRenderer(_TRACEBACK), structlog.processors.JSONRenderer()]
        if json
        else [
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            )
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
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
