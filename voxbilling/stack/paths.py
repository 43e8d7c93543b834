"""Where things lie in the data directory, and who may see them."""

import json
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from voxbilling.stack import StackError
from voxbilling.stack.identity import ordinary_user

# A socket's address holds 108 bytes on Linux and 104 elsewhere, with the final zero.
_LONGEST_SOCKET_PATH = 103
POSTGRES_SOCKET = ".s.PGSQL.5432"
VALKEY_SOCKET = "valkey.sock"


@dataclass(frozen=True)
class DataDirectory:
    """The data directory of one stack. Reading these paths creates nothing."""

    root: Path

    @property
    def cluster(self) -> Path:
        return self.root / "postgres"

    @property
    def new_cluster(self) -> Path:
        """A cluster being made; what is found here at a start is the rest of a broken attempt."""
        return self.root / "postgres.new"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def joining(self) -> Path:
        """What a command needs to know to join the servers while they run."""
        return self.root / "servers.json"

    @property
    def demo(self) -> Path:
        return self.root / "demo.json"

    @property
    def sandbox(self) -> Path:
        """What the sandbox must not forget."""
        return self.root / "sandbox.json"

    @property
    def mail(self) -> Path:
        """A file for each e-mail that would have been sent."""
        return self.root / "mail"

    @property
    def _short_sockets_record(self) -> Path:
        return self.root / "sockets-directory"

    def create(self) -> bool:
        """Make the directory, closed to others; True if it was not there.

        A directory that exists keeps its permissions: whoever made it may have had reasons, and
        everything inside is closed to others by itself.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            created = False
        except OSError as error:
            raise StackError(
                f"The data directory {self.root} cannot be made ({error.strerror}): name another "
                "in VOXBILLING_DATA_DIR."
            ) from None
        else:
            created = True
        if not self.root.is_dir() or not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            raise StackError(
                f"The data directory {self.root} is not a directory that this user may write to: "
                "name another in VOXBILLING_DATA_DIR."
            )
        owner = self.root.stat().st_uid
        # Root can write anywhere, but what it leaves there would shut the owner out. (Root that
        # may make no namespace gave the directory away itself, see identity.py.)
        if os.geteuid() == 0 and owner not in (0, ordinary_user().pw_uid):
            raise StackError(
                f"The data directory {self.root} belongs to user {owner}: run voxbilling as that "
                "user, or name another directory in VOXBILLING_DATA_DIR."
            )
        for directory in (self.logs, self.locks):
            directory.mkdir(mode=0o700, exist_ok=True)
        return created

    def sockets(self) -> Path:
        """The directory of the servers' sockets, made if need be.

        It lies in the data directory, or, when that path is too long for a socket's address, in a
        fresh directory under /tmp whose name the data directory keeps. The same when it has a
        comma: libpq would take the path for a list of hosts.
        """
        inside = self.root / "sockets"
        length = len(os.fsencode(inside / POSTGRES_SOCKET))
        if length <= _LONGEST_SOCKET_PATH and "," not in str(inside):
            inside.mkdir(mode=0o700, exist_ok=True)
            return inside
        try:
            recorded = Path(self._short_sockets_record.read_text())
            found = recorded.lstat()
        except (OSError, ValueError):
            pass
        else:
            is_closed = stat.S_ISDIR(found.st_mode) and found.st_mode & 0o777 == 0o700
            if is_closed and found.st_uid == self.root.stat().st_uid:
                return recorded
        short = Path(tempfile.mkdtemp(prefix="voxbilling-", dir="/tmp"))
        write_private(self._short_sockets_record, str(short))
        return short

    def remove_short_sockets(self) -> None:
        """Take away the directory under /tmp, if this data directory needed one."""
        try:
            short = Path(self._short_sockets_record.read_text())
        except OSError:
            return
        for name in (POSTGRES_SOCKET, f"{POSTGRES_SOCKET}.lock", VALKEY_SOCKET):
            (short / name).unlink(missing_ok=True)
        try:
            short.rmdir()
        except OSError:
            return
        self._short_sockets_record.unlink(missing_ok=True)

    @cached_property
    def passwords(self) -> dict[str, str]:
        """The stack's own keys and passwords: made once, then kept, readable by the owner only."""
        path = self.root / "secrets.json"
        try:
            kept: dict[str, str] = json.loads(path.read_text())
        except FileNotFoundError:
            kept = {}
        except ValueError:
            raise StackError(
                f"{path} is damaged: delete {self.root}, which also deletes its database, and "
                "start again."
            ) from None
        if "postgres" not in kept and self.cluster.exists():
            raise StackError(
                f"{path} with the database's password is gone: delete {self.root}, which also "
                "deletes its database, and start again."
            )
        names = (
            *("secret_key", "postgres", "valkey"),
            *("vapi_webhook_secret", "stripe_webhook_secret"),
        )
        missing = {name: secrets.token_hex(32) for name in names if name not in kept}
        if missing:
            kept |= missing
            write_private(path, json.dumps(kept))
        return kept


def write_private(path: Path, text: str) -> None:
    """Write a file (mode 600) in one step: readers see the old content or the new, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_private_json(path: Path, content: dict[str, Any]) -> None:
    write_private(path, json.dumps(content, indent=1))
