"""What processes count, added up over all of them in Valkey, for /metrics.

A count is kept in the process, and a thread of its own adds what has come since to Valkey's every
few seconds: whoever counts never waits for the network. While Valkey does not answer, counts wait;
a process that is killed takes its last ones with it. They are for those who watch a deployment, and
nothing depends on them.
"""

import itertools
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, wraps
from multiprocessing.util import Finalize
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.core.cache import cache as django_cache
from redis import Redis

from voxbilling.valkey import UNREACHABLE

P = ParamSpec("P")
R = TypeVar("R")

FLUSH_SECONDS = 3
# Upper bounds. Vapi gives up after 7.5 s.
BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5)

_KEY = "counts"
_SUM, _COUNT = "sum", "count"


@dataclass(frozen=True)
class Durations:
    """How often something was done, and how many seconds it took, by its labels.

    The values of labels come from a fixed set: each combination is kept for ever. Those of `always`
    are told as 0 before anything was counted.
    """

    name: str
    meaning: str
    labels: tuple[str, ...]
    always: tuple[tuple[str, ...], ...] = ()

    def observe(self, seconds: float, *values: str) -> None:
        bucket = next((str(bound) for bound in BUCKETS_SECONDS if seconds <= bound), "+Inf")
        _process.add({(self.name, values, bucket): 1, (self.name, values, _SUM): seconds})


@dataclass(frozen=True)
class Occurrences:
    """How often something happened, by its labels, whose values come from a fixed set."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    always: tuple[tuple[str, ...], ...] = ()

    def add(self, *values: str) -> None:
        _process.add({(self.name, values, _COUNT): 1})


LEDGER_COMMANDS = Durations(
    "ledger_command_seconds",
    "Ledger commands, and how long they took, waiting for locks included.",
    ("command", "outcome"),
    tuple(itertools.product(("reserve", "commit", "charge_asset"), ("done", "duplicate"))),
)
AUTHORIZATIONS = Occurrences(
    "call_authorizations",
    "Decisions whether a call of Vapi's may begin or go on.",
    ("outcome",),
    (("authorized",), ("refused",)),
)
WEBHOOK_ANSWERS = Durations(
    "webhook_answer_seconds",
    "Webhooks by address and status, and how long their senders waited.",
    ("endpoint", "status"),
    tuple(itertools.product(("vapi", "status-check", "stripe"), ("200", "401", "500", "503"))),
)
WEBHOOK_MESSAGES = Durations(
    "webhook_message_seconds",
    "Messages by type, and how long storing and processing took.",
    ("source", "type"),
    tuple(("vapi", kind) for kind in ("assistant-request", "status-update", "end-of-call-report")),
)
WEBHOOK_FAILURES = Occurrences(
    "webhook_failures", "Attempts to process a message that went wrong.", (), ((),)
)
ALL: tuple[Durations | Occurrences, ...] = (
    LEDGER_COMMANDS,
    AUTHORIZATIONS,
    WEBHOOK_ANSWERS,
    WEBHOOK_MESSAGES,
    WEBHOOK_FAILURES,
)

_is_rehearsal: ContextVar[bool] = ContextVar("is_rehearsal", default=False)

_Field = tuple[str, tuple[str, ...], str]


@contextmanager
def uncounted() -> Iterator[None]:
    """For what is tried and rolled back: nothing that happens in the block is counted."""
    before = _is_rehearsal.set(True)
    try:
        yield
    finally:
        _is_rehearsal.reset(before)


@contextmanager
def timed(durations: Durations, *values: str) -> Iterator[list[str]]:
    """Observe a block; the list that it is given takes the value of the last label, if it is left.

    For a block that raises, that is the class of what it raised.
    """
    began = time.perf_counter()
    last: list[str] = []
    try:
        yield last
    except Exception as error:
        if len(values) < len(durations.labels):
            last[:] = [type(error).__name__]
        raise
    finally:
        durations.observe(time.perf_counter() - began, *values, *last)


def ledger_command(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Count a command of the ledger: `done`, a `duplicate`, or what it was refused for."""

    def decorator(command: Callable[P, R]) -> Callable[P, R]:
        @wraps(command)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            with timed(LEDGER_COMMANDS, name) as outcome:
                result = command(*args, **kwargs)
                outcome.append("duplicate" if getattr(result, "duplicate", False) else "done")
            return result

        return counted

    return decorator


class _Process:
    """The counts of this process that Valkey has not been told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[_Field, float] = defaultdict(float)
        self._thread: threading.Thread | None = None

    def add(self, differences: dict[_Field, float]) -> None:
        if _is_rehearsal.get():
            return
        with self._lock:
            for field, difference in differences.items():
                self._waiting[field] += difference
            if self._thread is None:
                self._thread = threading.Thread(target=self._flush_for_ever, daemon=True)
                self._thread.start()
                Finalize(None, self.flush, exitpriority=1)

    def flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(float)
        if not waiting:
            return
        try:
            commands = _valkey().pipeline()
            for field, difference in waiting.items():
                commands.hincrbyfloat(_key(), json.dumps(field), difference)
            commands.execute()
        except UNREACHABLE:
            self._put_back(waiting)

    def _put_back(self, waiting: dict[_Field, float]) -> None:
        with self._lock:
            for field, difference in waiting.items():
                self._waiting[field] += difference

    def _flush_for_ever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()


_process = _Process()


def flush() -> None:
    """Tell Valkey at once what this process has counted."""
    _process.flush()


def _begin_anew() -> None:
    # The parent tells what it has counted itself; its thread and its connections are not here.
    global _process
    _process = _Process()
    _valkey.cache_clear()


os.register_at_fork(after_in_child=_begin_anew)


Labelled = dict[tuple[str, ...], dict[str, float]]


def read() -> dict[str, Labelled]:
    """By name and values of labels: the count of each bucket, of all, and the sum of seconds.

    Raises one of UNREACHABLE when Valkey does not answer.
    """
    found: dict[str, Labelled] = {each.name: {} for each in ALL}
    for field, value in _valkey().hgetall(_key()).items():
        name, labels, part = json.loads(field)
        # A name of an older version is told no more.
        if name in found:
            found[name].setdefault(tuple(labels), {})[part] = float(value)
    return found


def _key() -> str:
    return django_cache.make_key(_KEY)


@cache
def _valkey() -> Redis:
    server = settings.CACHES["default"]
    return Redis.from_url(server["LOCATION"], **server["OPTIONS"])
