"""When beat last published each periodic task, and when each last ended well; kept in Valkey.

It is for those who watch a deployment. Nothing depends on it: what cannot be recorded is logged and
forgotten.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from celery.exceptions import Ignore
from django.core.cache import cache

from voxbilling.valkey import UNREACHABLE

logger = structlog.get_logger(__name__)

_SINCE = "heartbeat.since"


@dataclass(frozen=True)
class Heartbeat:
    """Moments in seconds since 1970. `since` is when the records begin; None if beat never ran."""

    since: float | None
    published: dict[str, float]
    finished: dict[str, float]


def beat_began() -> None:
    _record({_SINCE: time.time()})


def published(task: str) -> None:
    now = time.time()
    _record({_published(task): now}, if_missing={_SINCE: now})


def finished(task: str) -> None:
    _record({_finished(task): time.time()})


def ended_well(result: int | None) -> int:
    """What a sweep did, if it could do its work.

    Raises Celery's Ignore for None: then the sweep is not recorded as finished, and those who watch
    see it grow old. It is no error of ours, which the log would have each time.
    """
    if result is None:
        raise Ignore
    return result


def read(tasks: Iterable[str]) -> Heartbeat:
    """Raises one of UNREACHABLE when Valkey does not answer."""
    names = list(tasks)
    found = cache.get_many([_SINCE, *map(_published, names), *map(_finished, names)])
    return Heartbeat(
        since=found.get(_SINCE),
        published={name: found[_published(name)] for name in names if _published(name) in found},
        finished={name: found[_finished(name)] for name in names if _finished(name) in found},
    )


def _published(task: str) -> str:
    return f"heartbeat.published.{task}"


def _finished(task: str) -> str:
    return f"heartbeat.finished.{task}"


def _record(moments: dict[str, float], *, if_missing: dict[str, float] | None = None) -> None:
    try:
        cache.set_many(moments, timeout=None)
        # Valkey may have lost what it had: then the records begin anew.
        for key, moment in (if_missing or {}).items():
            cache.add(key, moment, timeout=None)
    except UNREACHABLE as error:
        logger.warning("heartbeat_not_recorded", error=str(error))
