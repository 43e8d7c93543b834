"""As an ordinary user, and as root with and without user namespaces.

"Ordinary" is made with a user namespace where this suite runs as root: the process is not root,
may do only what files' permissions let it, and is a user that /etc/passwd knows, or does not.
"""

import os
import pwd
import signal
import subprocess
import sys
from functools import partial

import psycopg
import pytest

from tests.stack.conftest import STAND_IN, alive, copy_data, eventually
from voxbilling.environment import PROJECT_DIR

QUICK = ("worker=sleep", "provider_worker=sleep", "beat=sleep", "sandbox=web")
AS = [sys.executable, "-m", "tests.stack.as_another"]
NOBODY = pwd.getpwnam("nobody").pw_uid
UNKNOWN = 54321


def _can(who: str) -> bool:
    found = subprocess.run(
        [*AS, who, sys.executable, "-c", "pass"],
        cwd=PROJECT_DIR,
        capture_output=True,
        check=False,
        timeout=30,
    )
    return found.returncode == 0


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="this suite does not run as root")
namespaces = pytest.mark.skipif(
    not _can(f"ordinary:{NOBODY}"), reason="the kernel allows no user namespace here"
)
many_users = pytest.mark.skipif(
    os.geteuid() != 0 or not _can("root-without-namespaces"),
    reason="a root without namespaces can be made by root with namespaces only",
)


def run_and_stop(start, command, data) -> None:
    """The stack starts, answers, and leaves nothing behind, killed or stopped."""
    for number in (signal.SIGKILL, signal.SIGTERM):
        stack = start(command, data)
        eventually(stack.is_ready, "the stack to be ready")
        with psycopg.connect(stack.facts()["env"]["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        below = stack.below()
        # A wrapper may stand between us and the supervisor.
        os.kill(stack.owner(), number)
        eventually(lambda below=below: not alive(below), "all children to end")


@namespaces
@pytest.mark.parametrize("uid", [NOBODY, UNKNOWN])
def test_as_an_ordinary_user(start, data, uid):
    run_and_stop(start, [*AS, f"ordinary:{uid}", *STAND_IN, "run", *QUICK], data)


@root_only
def test_as_another_user_of_the_machine(start, open_tmp):
    if not _reachable_by_nobody(os.path.realpath(sys.executable)):
        pytest.skip(f"{os.path.realpath(sys.executable)} is closed to other users of the machine")
    mine = open_tmp / "mine"
    mine.mkdir()
    os.chown(mine, NOBODY, -1)
    run_and_stop(partial(start, user=NOBODY), [*STAND_IN, "run", *QUICK], mine / "data")


def _reachable_by_nobody(program: str) -> bool:
    found = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$0"', program], check=False, user=NOBODY, extra_groups=[]
    )
    return found.returncode == 0


@root_only
@namespaces
def test_as_root_below_a_closed_directory(start, template, open_tmp):
    closed = open_tmp / "closed"
    closed.mkdir(mode=0o700)
    copy_data(template, closed / "data")
    run_and_stop(start, [*STAND_IN, "run", *QUICK], closed / "data")
    assert {path.stat().st_uid for path in closed.rglob("*")} == {0}
    assert closed.stat().st_mode & 0o777 == 0o700


@many_users
def test_as_root_without_namespaces(start, open_tmp):
    data = open_tmp / "data"
    command = [*AS, "root-without-namespaces", *STAND_IN, "run", *QUICK]
    run_and_stop(start, command, data)
    assert (data / "postgres").stat().st_uid == NOBODY
    assert data.stat().st_mode & 0o777 == 0o700
    assert open_tmp.stat().st_mode & 0o777 == 0o755
    assert open_tmp.stat().st_uid == 0


@many_users
def test_as_root_without_namespaces_below_a_closed_directory(start, open_tmp):
    closed = open_tmp / "closed"
    closed.mkdir(mode=0o700)
    command = [*AS, "root-without-namespaces", *STAND_IN, "run", *QUICK]
    code, _, errors = start(command, closed / "data").end()
    assert code == 1
    assert errors.startswith("PostgreSQL refuses to run as root, and the user that it runs as")
    assert str(closed / "data") in errors
    assert len(errors.splitlines()) == 1
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


@root_only
def test_somebody_elses_data_directory_is_refused_in_a_sentence(start, open_tmp):
    data = open_tmp / "data"
    data.mkdir(mode=0o700)
    os.chown(data, UNKNOWN, UNKNOWN)
    code, _, errors = start([*STAND_IN, "run"], data).end()
    assert code == 1
    assert errors.startswith(f"The data directory {data} belongs to user {UNKNOWN}")
    assert len(errors.splitlines()) == 1
