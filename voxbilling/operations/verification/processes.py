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

START_SECONDS = 15
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
    yield _eventually_ok(_worker)
    yield _eventually_ok(_beat)
    yield _eventually_ok(_sweeps)


def _eventually_ok(look: Callable[[], Finding]) -> Finding:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        finding = look()
        if not finding.is_failure or time.monotonic() > give_up_at:
            return finding
        time.sleep(_LOOK_SECONDS)


def _worker() -> Finding:
    try:
        answers = app.control.ping(timeout=_PING_SECONDS)
    except (BrokerError, OSError) as error:
        return failed("worker", f"cannot be asked: {error}")
    if not answers:
        return failed("worker", "none answers: start a Celery worker")
    names = ", ".join(sorted(name for answer in answers for name in answer))
    return ok("worker", f"{names} answers")


def _beat() -> Finding:
    try:
        beats = heartbeat.read(periodic_tasks())
    except (RedisError, OSError) as error:
        return failed("beat", f"cannot be asked about: {error}")
    if beats.since is None:
        return failed("beat", "was never seen: start one")
    late = _late(beats.since, beats.published)
    if late:
        return failed("beat", f"did not publish in time: {late}; look whether beat runs")
    return ok("beat", "publishes every periodic task in time")


def _sweeps() -> Finding:
    try:
        beats = heartbeat.read(periodic_tasks())
    except (RedisError, OSError) as error:
        return failed("sweeps", f"cannot be asked about: {error}")
    late = _late(beats.since or 0, beats.finished)
    if late:
        return failed("sweeps", f"did not end well in time: {late}; look into the worker's log")
    if not beats.finished:
        return failed("sweeps", "none has ended well yet: look into the worker's log")
    return ok("sweeps", f"end well in time, {len(beats.finished)} so far")


def _late(since: float, seen: dict[str, float]) -> str:
    """The tasks that were last seen too long ago, counted from when the records begin."""
    now = time.time()
    late = []
    for task, every_seconds in sorted(periodic_tasks().items()):
        silent_seconds = now - max(since, seen.get(task, since))
        if silent_seconds > _TURNS_MISSED * every_seconds + _GRACE_SECONDS:
            late.append(f"{task} (every {every_seconds} s, silent for {silent_seconds:.0f} s)")
    return ", ".join(late)
