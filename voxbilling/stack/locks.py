"""Who uses a data directory, told by the kernel's file locks and not by pid files.

`owner` is held by the one process that runs the servers; it dies with that process, `kill -9`
included. `servers` is held by that process and inherited by its children: while it is held,
something of an earlier stack is still alive. `joiners` is shared by the commands that use somebody
else's servers, so that a command that runs the servers does not stop them under another.
"""

import fcntl
import os
import time
from pathlib import Path

from voxbilling.stack import StackError

_TICK_SECONDS = 0.02


class Lock:
    """A lock on a file. It is released when it is closed, or when all that inherited it died."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free; False if it is not."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, seconds: float | None = None) -> bool:
        """Take the lock, waiting for it at most so long; False if it was not to be had."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.take():
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_TICK_SECONDS)
        return True

    def release(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it. What inherited it still holds it."""
        os.close(self.fd)


class OwnerLock(Lock):
    """The lock of the process that runs the servers; its file says which process that is."""

    def announce(self, what: str) -> None:
        """Say who holds the lock: our pid, and what we are."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()} {what}\n".encode(), 0)

    def holder(self) -> str:
        """Who holds the lock, for people to read."""
        pid, _, what = os.pread(self.fd, 500, 0).decode(errors="replace").strip().partition(" ")
        return f"`{what}` (pid {pid})" if what else "another process"


def wait_for_earlier_servers(lock: Lock, seconds: float = 40) -> None:
    """Wait until what a killed stack left behind has ended; StackError if it does not."""
    if not lock.wait(seconds):
        raise StackError(
            "Processes of a stack that was killed are still running in this data directory: "
            "`fuser` on its file locks/servers names them."
        )
