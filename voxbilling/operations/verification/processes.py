"""The broker, and whether the workers and beat do their work behind it.

A stack that has just started is given a few seconds.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

from kombu.exceptions import OperationalError as BrokerError

from voxbilling import heartbeat
from voxbilling.celery import app, periodic_tasks
from voxbilling.operations import health
from voxbilling.operations.verification.findings import Finding, failed, ok
from voxbilling.valkey import UNREACHABLE

START_SECONDS = 30
_PING_SECONDS = 1.0
_LOOK_SECONDS = 0.25
# Beat and the workers may be busy, or restarting, for this many turns and these seconds.
_TURNS_MISSED = 3
_GRACE_SECONDS = 10
_NO_WORKER = "none answers for the queue {0}: start Celery with --queues {0}"


def check() -> Iterator[Finding]:
    """The broker, both workers, beat, and the sweeps that they do together."""
    if health.broker() != "ok":
        yield failed("broker", "cannot be reached: look at REDIS_URL, and whether it runs")
        return
    yield ok("broker", "answers")
    give_up_at = time.monotonic() + START_SECONDS
    for subject, look, absence in (
        ("worker", partial(_worker, "worker", "calls"), _NO_WORKER.format("calls")),
        (
            "provider worker",
            partial(_worker, "provider worker", "providers"),
            _NO_WORKER.format("providers"),
        ),
        ("beat", _beat, "has published nothing yet: start one, or look into its log"),
        ("sweeps", _sweeps, "none has ended well yet: look into the logs of beat and the workers"),
    ):
        try:
            yield _eventually(look, give_up_at) or failed(subject, absence)
        except (BrokerError, *UNREACHABLE) as error:
            yield failed(subject, f"could not be asked about: {error}")


def _eventually(look: Callable[[], Finding | None], give_up_at: float) -> Finding | None:
    """What `look` finds, which is nothing while it may still be starting."""
    while (finding := look()) is None and time.monotonic() < give_up_at:
        time.sleep(_LOOK_SECONDS)
    return finding


def _worker(subject: str, queue: str) -> Finding | None:
    answers = app.control.inspect(timeout=_PING_SECONDS).active_queues() or {}
    names = sorted(
        name for name, queues in answers.items() if queue in {each["name"] for each in queues}
    )
    return ok(subject, f"{', '.join(names)} answers") if names else None


def _beat() -> Finding | None:
    beats = heartbeat.read(periodic_tasks())
    if beats.since is None:
        return None
    seen = _seen_since(beats.since, beats.published)
    late = _late(beats.since, seen)
    if late:
        return failed("beat", f"did not publish in time: {late}; look whether beat runs")
    return ok("beat", "publishes every periodic task in time") if seen else None


def _sweeps() -> Finding | None:
    beats = heartbeat.read(periodic_tasks())
    if beats.since is None:
        return None
    seen = _seen_since(beats.since, beats.finished)
    late = _late(beats.since, seen)
    if late:
        return failed(
            "sweeps", f"did not end well in time: {late}; look into the log of their worker"
        )
    return ok("sweeps", f"end well in time, {len(seen)} of them so far") if seen else None


def _seen_since(since: float, moments: dict[str, float]) -> dict[str, float]:
    """Those that this run of beat has seen: Valkey keeps what earlier ones left."""
    return {task: moment for task, moment in moments.items() if moment >= since}


def _late(since: float, seen: dict[str, float]) -> str:
    """The tasks that were last seen too long ago, counted from when the records begin."""
    now = time.time()
    late = []
    for task, every_seconds in sorted(periodic_tasks().items()):
        silent_seconds = now - seen.get(task, since)
        if silent_seconds > _TURNS_MISSED * every_seconds + _GRACE_SECONDS:
            late.append(f"{task} (every {every_seconds} s, silent for {silent_seconds:.0f} s)")
    return ", ".join(late)
