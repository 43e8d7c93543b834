"""Runs a command as somebody else, for the tests.

as_another.py root-without-namespaces COMMAND ...   root who may make no user namespace
as_another.py ordinary:UID COMMAND ...              not root; files belong to it as they do now
"""

import ctypes
import os
import sys
from pathlib import Path

from voxbilling.stack.launch import take_identity

_CLONE_NEWUSER = 0x10000000


def become_root_without_namespaces() -> None:
    """Enter a namespace with all users in it and a limit of no namespaces below it.

    That is what containers give: root, several users, and no way to make a user namespace.
    """
    ask, asked = os.pipe()
    answer, answered = os.pipe()
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
            os._exit(1)
        os.write(asked, b"x")
        os.read(answer, 1)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        return
    os.read(ask, 1)
    for kind in ("uid", "gid"):
        Path(f"/proc/{child}/{kind}_map").write_text("0 0 65536")
    os.write(answered, b"x")
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def main() -> None:
    who, *command = sys.argv[1:]
    if who == "root-without-namespaces":
        become_root_without_namespaces()
    else:
        take_identity(who.replace("ordinary:", "namespace:"))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
