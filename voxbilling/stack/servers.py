"""The two embedded servers of a data directory, owned by this process while it holds the lock."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from voxbilling.capacity import POSTGRES_MAX_CONNECTIONS
from voxbilling.stack import identity, processes
from voxbilling.stack.locks import Lock, OwnerLock, wait_for_earlier_servers
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.postgres import Postgres
from voxbilling.stack.postgres import binary as postgres_binary
from voxbilling.stack.processes import Child, Program, wait_until
from voxbilling.stack.valkey import Valkey

# A cluster that was cut off replays its log before it takes connections.
_START_SECONDS = 120


class Servers:
    """PostgreSQL and Valkey, running. Made by `running`."""

    def __init__(self, data: DataDirectory, lock: Lock) -> None:
        self.data = data
        self._lock = lock
        self.children: list[Child] = []
        self.database_url = ""
        self.redis_url = ""

    def launch(
        self,
        program: Program,
        among: list[Child],
        *,
        output: int | IO[str] | None = None,
        errors: int | IO[str] | None = None,
    ) -> Child:
        """Start a program and add it to `among`, which the caller stops.

        What it prints goes to its log by default. No signal comes between the two steps: it
        would end us with a child that nobody stops.
        """
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        )
        try:
            child = Child(program, self.data.logs, lock=self._lock.fd, output=output, errors=errors)
            among.append(child)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def _start_own(self, program: Program) -> Child:
        return self.launch(program, self.children)

    def start(self, *, data_is_new: bool, max_connections: int, durable: bool) -> None:
        """Start both and wait until they answer."""
        owner = identity.choose()
        if data_is_new:
            owner.give(self.data.root)
        sockets = self.data.sockets()
        owner.give(sockets)
        if owner.argument != "same":
            owner.check_reach(self.data.root, postgres_binary("postgres"))
        valkey = Valkey(self.data, sockets)
        postgres = Postgres(
            self.data, owner, sockets, max_connections=max_connections, durable=durable
        )
        self.database_url, self.redis_url = postgres.url, valkey.url
        broker = valkey.start(self._start_own)
        self._postgres, self._database = postgres, postgres.start(self._start_own)
        self.children = [broker, self._database]
        wait_until(
            lambda: postgres.is_ready(self._database) and valkey.is_ready(),
            self.children,
            seconds=_START_SECONDS,
            what="The embedded PostgreSQL or Valkey",
        )

    def restart_database(self) -> None:
        """Shut PostgreSQL down as an operator does, which breaks its clients' transactions off."""
        processes.stop([self._database])
        self.children.remove(self._database)
        self._database = self._postgres.start(self._start_own)
        wait_until(
            lambda: self._postgres.is_ready(self._database),
            self.children,
            seconds=_START_SECONDS,
            what="The embedded PostgreSQL",
        )


def open_owner_lock(data: DataDirectory) -> OwnerLock:
    return OwnerLock(data.locks / "owner")


@contextmanager
def running(
    data: DataDirectory,
    owner: OwnerLock,
    *,
    what: str,
    data_is_new: bool,
    max_connections: int = POSTGRES_MAX_CONNECTIONS,
    durable: bool = True,
) -> Iterator[Servers]:
    """Run the servers while the context lasts. The caller has taken the `owner` lock.

    With `durable` off, a crash of the machine may lose the database: for test suites only.
    """
    with ExitStack() as cleanup:
        owner.announce(what)
        # What a killed owner left: nothing may join by it.
        data.joining.unlink(missing_ok=True)
        data.demo.unlink(missing_ok=True)
        lock = Lock(data.locks / "servers")
        cleanup.callback(lock.close)
        wait_for_earlier_servers(lock)
        servers = Servers(data, lock)
        cleanup.callback(data.remove_short_sockets)
        cleanup.callback(lambda: processes.stop(servers.children))
        servers.start(data_is_new=data_is_new, max_connections=max_connections, durable=durable)
        cleanup.callback(lambda: data.joining.unlink(missing_ok=True))
        yield servers
