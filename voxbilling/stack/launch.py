"""Becomes another program that cannot outlive its parent. Runs alone, with `python -I -S`.

    launch.py PARENT_PID SIGNAL IDENTITY -- PROGRAM [ARGUMENT ...]
    launch.py PARENT_PID SIGNAL IDENTITY --reach PATH ...

SIGNAL is what the program gets when its parent dies, even by `kill -9` (PR_SET_PDEATHSIG, Linux
only; elsewhere the supervisor's orderly stop is the only one). IDENTITY says as whom it runs,
because PostgreSQL refuses root:

    same           as the caller
    namespace:UID  in a user namespace where the caller is called UID; outside it, files still
                   belong to the caller, so that directories that are closed to others work
    user:UID:GID   as that user; only root can

`--reach` runs nothing: it prints the first PATH that this identity cannot enter or execute.
Exit codes: 81 the identity cannot be taken, 82 a path is out of reach, 127 no such program.
"""

import ctypes
import os
import signal
import sys

CANNOT_TAKE_IDENTITY = 81
OUT_OF_REACH = 82
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def take_identity(identity: str) -> None:
    """Become `identity`, as the module's docstring describes it; OSError when it cannot."""
    kind, *ids = identity.split(":")
    if kind == "namespace":
        uid, gid = os.geteuid(), os.getegid()
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "no user namespace")
        # The kernel wants this before an ordinary user may write the map of groups.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{ids[0]} {uid} 1")
        _write("/proc/self/gid_map", f"{ids[0]} {gid} 1")
    elif kind == "user":
        os.setgroups([])
        os.setgid(int(ids[1]))
        os.setuid(int(ids[0]))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib would double the start-up time
        file.write(text)


def die_with_parent(parent_pid: int, signal_number: int) -> None:
    """Ask the kernel for `signal_number` when the parent dies; exit if it is already dead.

    To be called after any change of identity, which would cancel it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:
        sys.exit(f"the process {parent_pid} that asked for this one is gone")


def main() -> None:
    parent_pid, signal_number, identity, mode, *program = sys.argv[1:]
    os.umask(0o077)
    try:
        take_identity(identity)
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_TAKE_IDENTITY)
    if mode == "--reach":
        for path in program:
            if not os.access(path, os.X_OK):
                print(path)  # noqa: T201
                sys.exit(OUT_OF_REACH)
        return
    die_with_parent(int(parent_pid), int(signal_number))
    # The parent starts its children while its own signals are held back.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Python ignores SIGPIPE and SIGXFSZ, and exec would hand that down.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(program[0], program)  # noqa: S606 - the caller's own list, no shell
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
