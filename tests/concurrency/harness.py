"""Commands that really run at the same time, each on a thread and a connection of its own.

Every thread waits at one barrier, so that all start together; the connections come from the
product's own bounded pool. Delays are seeded: a seed that fails can be played again. Nothing is
waited for by sleeping, and no test depends on how long something takes.
"""

import importlib
import pkgutil
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from django.db import connection, connections

from wallets import ledger, locks
from wallets.models import Organization

# A thread that is not through by then hangs: nothing here takes more than a few seconds.
HANGING_AFTER_SECONDS = 120

_thread = threading.local()


@dataclass(frozen=True)
class Outcome:
    """What one command returned or raised."""

    result: Any = None
    error: Exception | None = None

    @property
    def succeeded(self) -> bool:
        return self.error is None


def run_together(commands: Sequence[Callable[[], Any]]) -> list[Outcome]:
    """Start every command at once, each on its own thread; their outcomes in the same order."""
    outcomes: list[Outcome | None] = [None] * len(commands)
    start = threading.Barrier(len(commands))

    def run(number: int, command: Callable[[], Any]) -> None:
        _thread.number = number
        try:
            start.wait(HANGING_AFTER_SECONDS)
            outcomes[number] = Outcome(result=command())
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            outcomes[number] = Outcome(error=error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(number, command), daemon=True)
        for number, command in enumerate(commands)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + HANGING_AFTER_SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return [outcome for outcome in outcomes if outcome is not None]


def ledger_modules() -> list[Any]:
    """The modules of the ledger, each of which has the names that it uses for itself."""
    return [
        importlib.import_module(f"{ledger.__name__}.{found.name}")
        for found in pkgutil.iter_modules(ledger.__path__)
    ]


@contextmanager
def replaced_in_ledger(name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Put a stand-in where the ledger's modules use a function."""
    users = [module for module in ledger_modules() if hasattr(module, name)]
    assert users, f"the ledger does not use {name}"
    patches = [mock.patch.object(module, name, replacement) for module in users]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


@contextmanager
def seeded_interleaving(seed: int) -> Iterator[None]:
    """Delay each thread around its lock, by times and with a last one that the seed chooses."""

    def delayed(lock: Callable[..., Any]) -> Callable[..., Any]:
        def locked(organizations: Any) -> Any:
            number = getattr(_thread, "number", 0)
            choice = random.Random(f"{seed} {number}")
            # Every other seed holds one of the threads back for longer than the others need.
            held_back = seed % 2 and number == seed // 2 % 2
            time.sleep(choice.uniform(0, 0.0006) + (0.003 if held_back else 0))
            locked_organizations = lock(organizations)
            time.sleep(choice.uniform(0, 0.0006))
            return locked_organizations

        return locked

    with (
        replaced_in_ledger("lock_organization", delayed(locks.lock_organization)),
        replaced_in_ledger("lock_free_organizations", delayed(locks.lock_free_organizations)),
    ):
        yield


class Rendezvous:
    """Where each thread waits, before its first write, until all others are about to write too.

    By then every one of them has read what it decides from, so the race is certain and not lucky.
    """

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)
        self._been_there: set[int] = set()

    def wait(self) -> None:
        if _thread.number not in self._been_there:
            self._been_there.add(_thread.number)
            self._barrier.wait(HANGING_AFTER_SECONDS)

    def run(self, command: Callable[[], Any]) -> Any:
        def before_first_write(execute: Any, sql: str, *rest: Any) -> Any:
            if sql.startswith(("INSERT", "UPDATE", "DELETE")):
                self.wait()
            return execute(sql, *rest)

        try:
            with connection.execute_wrapper(before_first_write):
                return command()
        finally:
            self.wait()  # one that writes nothing keeps nobody waiting


def run_together_without_locks(commands: Sequence[Callable[[], Any]]) -> list[Outcome]:
    """The ledger with its lock taken away, and every command deciding from the same state."""

    def read_one(organization_id: Any) -> Organization:
        return Organization.objects.get(pk=organization_id)

    def read_all(organization_ids: Any) -> dict[Any, Organization]:
        return Organization.objects.in_bulk(list(organization_ids))

    everybody = Rendezvous(len(commands))
    with (
        replaced_in_ledger("lock_organization", read_one),
        replaced_in_ledger("lock_free_organizations", read_all),
    ):
        return run_together([partial(everybody.run, command) for command in commands])
