"""The embedded servers for one `manage.py` command: those that run already, or its own.

The command that finds none runs them itself, and when it is done it waits for commands that
joined. A stack (`make run`) does not wait: it stops when it is told to.
"""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from voxbilling.environment import data_dir, read_dotenv
from voxbilling.stack import variables
from voxbilling.stack.locks import Lock
from voxbilling.stack.paths import DataDirectory, write_private_json
from voxbilling.stack.servers import Servers, open_owner_lock, running

_TICK_SECONDS = 0.02
_SILENT_SECONDS = 2.0
_NEED_NO_SERVER = {
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "help",
    "makemessages",
    "startapp",
    "startproject",
    # Starts a stack of its own.
    "storm",
    "version",
}


class _Terminated(SystemExit):
    """SIGTERM came."""


@contextmanager
def servers_for_command(argv: Sequence[str]) -> Iterator[None]:
    """Set the environment for a Django command, and keep its servers running meanwhile.

    Does nothing when servers are configured, or when DEBUG is off: then settings say what is
    missing. Raises StackError when the embedded servers cannot run.
    """
    read_dotenv()
    if not variables.embedded_servers_are_meant():
        yield
    elif not _needs_servers(argv):
        os.environ.update(variables.without_servers())
        yield
    else:
        with _servers(shlex.join(["manage.py", *argv[1:2]])) as environment:
            os.environ.update(environment)
            yield


def publish(servers: Servers, environment: dict[str, str]) -> None:
    """Let other commands join these servers."""
    write_private_json(servers.data.joining, {"pid": os.getpid(), "env": environment})


def _needs_servers(argv: Sequence[str]) -> bool:
    command, options = (argv[1] if len(argv) > 1 else "help"), argv[2:]
    if command in _NEED_NO_SERVER or command in {"--help", "-h", "--version"}:
        return False
    if "DJANGO_AUTO_COMPLETE" in os.environ or {"--help", "-h"} & set(options):
        return False
    return command != "check" or any(option.startswith("--database") for option in options)


@contextmanager
def _servers(what: str) -> Iterator[dict[str, str]]:
    """The environment of the servers that run in the data directory, or that we run ourselves."""
    data = DataDirectory(data_dir())
    is_new = data.create()
    with ExitStack() as cleanup:
        owner = open_owner_lock(data)
        cleanup.callback(owner.close)
        joiners = Lock(data.locks / "joiners")
        cleanup.callback(joiners.close)
        speak_at = time.monotonic() + _SILENT_SECONDS
        while not owner.take():
            # Held from before we look until we are done: the servers' owner waits for it.
            if joiners.take(shared=True):
                environment = _published(data.joining)
                if environment is not None:
                    yield environment
                    return
                joiners.release()
            if time.monotonic() > speak_at:
                _say(f"Waiting for {owner.holder()} to start or stop the servers in {data.root}.")
                speak_at = float("inf")
            time.sleep(_TICK_SECONDS)
        signal.signal(signal.SIGTERM, _leave)
        with running(data, owner, what=what, data_is_new=is_new) as servers:
            environment = variables.for_servers(servers)
            publish(servers, environment)
            told_to_stop = False
            try:
                yield environment
            except (KeyboardInterrupt, _Terminated):
                told_to_stop = True
                raise
            finally:
                _close_pools()
                # Once we have it, nobody can join any more.
                if not joiners.take() and not told_to_stop:
                    _say("Waiting for other commands that use these servers (Ctrl-C ends them).")
                    joiners.wait()


def _close_pools() -> None:
    """Let Django hang up first: its pools would complain about the servers' end."""
    if "django.db" in sys.modules:
        from django.db import connections

        for connection in connections.all(initialized_only=True):
            connection.close()
            if hasattr(connection, "close_pool"):
                connection.close_pool()


def _published(path: Path) -> dict[str, str] | None:
    """The environment to join by; None if nobody alive published one."""
    try:
        content = json.loads(path.read_text())
        os.kill(content["pid"], 0)
    except (OSError, ValueError):
        return None
    environment: dict[str, str] = content["env"]
    return environment


def _leave(number: int, _frame: FrameType | None) -> None:
    raise _Terminated(128 + number)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 - not the command's own output
