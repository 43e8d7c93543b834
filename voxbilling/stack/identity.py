"""As whom PostgreSQL runs: it refuses root, and wants a user that /etc/passwd knows."""

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxbilling.stack import StackError, launch
from voxbilling.stack.processes import launcher


@dataclass(frozen=True)
class Identity:
    """What launch.py gets, and the user (uid, gid) that must own what PostgreSQL writes."""

    argument: str = "same"
    owner: tuple[int, int] | None = None

    def give(self, *paths: Path) -> None:
        """Hand over files and directories that we made ourselves."""
        if self.owner is not None:
            for path in paths:
                os.chown(path, *self.owner)

    def check_reach(self, *paths: Path) -> None:
        """StackError, naming the first path that this identity cannot enter or execute."""
        found = _launch(self, "--reach", paths)
        if found.returncode == launch.CANNOT_TAKE_IDENTITY:
            raise StackError(
                f"PostgreSQL refuses to run as root, and this root can be nobody else "
                f"({found.stderr.strip()}): run voxbilling as an ordinary user."
            )
        if found.returncode == launch.OUT_OF_REACH:
            raise StackError(
                f"PostgreSQL refuses to run as root, and the user that it runs as instead cannot "
                f"reach {found.stdout.strip()}: run voxbilling as an ordinary user, or keep "
                "the checkout and VOXBILLING_DATA_DIR where that user may go."
            )


def choose() -> Identity:
    """As ourselves if we are an ordinary user; else in a user namespace; else as nobody."""
    uid = os.geteuid()
    if uid != 0 and _is_known(uid):
        return Identity()
    namespace = Identity(f"namespace:{ordinary_user().pw_uid}")
    if _launch(namespace, "--reach", [Path("/")]).returncode == 0:
        return namespace
    if uid != 0:
        raise StackError(
            f"PostgreSQL runs only as a user that /etc/passwd names, and user {uid} is not in it: "
            "run voxbilling as a user that is."
        )
    user = ordinary_user()
    return Identity(f"user:{user.pw_uid}:{user.pw_gid}", (user.pw_uid, user.pw_gid))


def _launch(
    identity: Identity, mode: str, paths: Sequence[Path]
) -> subprocess.CompletedProcess[str]:
    command = launcher(signal.SIGKILL, identity.argument, mode, *map(str, paths))
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def ordinary_user() -> pwd.struct_passwd:
    """Some user other than root, preferably one that owns nothing."""
    for name in ("nobody", "daemon"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    if not others:
        raise StackError(
            "PostgreSQL refuses to run as root, and /etc/passwd names no other user: add one."
        )
    return others[0]
