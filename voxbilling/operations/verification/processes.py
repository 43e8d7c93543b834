"""The broker, and whether a worker and beat do their work behind it.

A stack that has just started is given a few seconds.
"""

import time
from collections.abc import Callable, Iterator

from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from voxbilling import heartbeat
from voxbilling.celery import app, periodic_tasks
from voxbilling.operations import health
from voxbilling.operations.verification.findings import Finding, failed, ok

START_SECONDS = 30
_PING_SECONDS = 1.0
_LOOK_SECONDS = 0.25
# Beat and the worker may be busy, or restarting, for this many turns and these seconds.
_TURNS_MISSED = 3
_GRACE_SECONDS = 10


def check() -> Iterator[Finding]:
    """The broker, a worker, beat, and the sweeps that beat and worker do together."""
    if health.broker() != "ok":
        yield failed("broker", "cannot be reached: look at REDIS_URL, and whether it runs")
        return
    yield ok("broker", "answers")
    give_up_at = time.monotonic() + START_SECONDS
    for subject, look, absence in (
        ("worker", _worker, "none answers: start a Celery worker"),
        ("beat", _beat, "was never seen: start one"),
        ("sweeps", _sweeps, "none has ended well yet: look into the logs of worker and beat"),
    ):
        try:
            yield _eventually(look, give_up_at) or failed(subject, absence)
        except (BrokerError, RedisError, OSError, ValueError) as error:
            yield failed(subject, f"could not be asked about: {error}")


def _eventually(look: Callable[[], Finding | None], give_up_at: float) -> Finding | None:
    """What `look` finds, which is nothing while it may still be starting."""
    while (finding := look()) is None and time.monotonic() < give_up_at:
        time.sleep(_LOOK_SECONDS)
    return finding


def _worker() -> Finding | None:
    answers = app.control.ping(timeout=_PING_SECONDS) or []
    names = ", ".join(sorted(name for answer in answers for name in answer))
    return ok("worker", f"{names} answers") if answers else None


def _beat() -> Finding | None:
    beats = heartbeat.read(periodic_tasks())
    if beats.since is None:
        return None
    late = _late(beats.since, beats.published)
    if late:
        return failed("beat", f"did not publish in time: {late}; look whether beat runs")
    return ok("beat", "publishes every periodic task in time")


def _sweeps() -> Finding | None:
    beats = heartbeat.read(periodic_tasks())
    if beats.since is None:
        return None
    late = _late(beats.since, beats.finished)
    if late:
        return failed("sweeps", f"did not end well in time: {late}; look into the worker's log")
    count = len(beats.finished)
    return ok("sweeps", f"end well in time, {count} of them so far") if count else None


def _late(since: float, seen: dict[str, float]) -> str:
    """The tasks that were last seen too long ago, counted from when the records begin."""
    now = time.time()
    late = []
    for task, every_seconds in sorted(periodic_tasks().items()):
        silent_seconds = now - max(since, seen.get(task, since))
        if silent_seconds > _TURNS_MISSED * every_seconds + _GRACE_SECONDS:
            late.append(f"{task} (every {every_seconds} s, silent for {silent_seconds:.0f} s)")
    return ", ".join(late)
