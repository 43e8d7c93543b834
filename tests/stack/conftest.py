"""Data directories to start servers in, and stacks run as programs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voxbilling.environment import PROJECT_DIR
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.servers import Servers, open_owner_lock, running

# A slow machine under load must not fail a test; nothing here waits that long otherwise.
PATIENCE_SECONDS = 90


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.02)


def environment(data: Path, **more: str) -> dict[str, str]:
    """What a user's shell has, with nothing configured; empty variables also shut out `.env`."""
    ours = ("VAPI_", "TWILIO_", "VOXBILLING_", "DATABASE_", "REDIS_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    del kept["SECRET_KEY"]
    names = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "VAPI_API_KEY", "VAPI_WEBHOOK_SECRETS")
    cleared = dict.fromkeys(names, "")
    return {**kept, **cleared, "DEBUG": "1", "PORT": "0", "VOXBILLING_DATA_DIR": str(data), **more}


@contextmanager
def servers_in(root: Path, *, durable: bool = True) -> Iterator[Servers]:
    """The servers, run by this very process."""
    data = DataDirectory(root)
    is_new = data.create()
    owner = open_owner_lock(data)
    try:
        assert owner.take()
        with running(data, owner, what="a test", data_is_new=is_new, durable=durable) as servers:
            yield servers
    finally:
        owner.close()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Not kept for three runs as pytest would: a cluster takes 46 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory whose cluster is made already, to be copied."""
    root = tmp_path_factory.mktemp("template") / "data"
    with servers_in(root, durable=False):
        pass
    yield root
    shutil.rmtree(root)


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own, with a cluster, and a space in its path."""
    root = tmp_path / "a b" / "data"
    copy_data(template, root)
    return root


def copy_data(template: Path, root: Path) -> None:
    shutil.copytree(template, root)
    root.chmod(0o700)


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed."""
    directory = Path(tempfile.mkdtemp(prefix="voxbilling-open-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


class Program:
    """A running program, with what it printed, and the processes below it."""

    def __init__(self, command: list[str], data: Path, *, user: int | None = None, **more: str):
        self.data = DataDirectory(data)
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            env=environment(data, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=user,
            extra_groups=None if user is None else [],
        )

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors, once it has ended."""
        output, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, output, errors

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.end()

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"ended early: {self.end()}")
        # A killed stack leaves its files; the next one removes both before it writes its own.
        # The program may be wrapped, so that the supervisor is somewhere below.
        ours = self.owner() in {self.process.pid, *self.below()}
        return ours and self.data.demo.exists()

    def owner(self) -> int | None:
        """The process that published the servers in the data directory."""
        try:
            return json.loads(self.data.joining.read_text())["pid"]
        except (OSError, ValueError):
            return None

    def facts(self) -> dict:
        return json.loads(self.data.demo.read_text())

    def below(self) -> dict[int, str]:
        return descendants(self.process.pid)


STAND_IN = [sys.executable, "-m", "tests.stack.stand_in"]


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start programs that do not outlive the test."""
    started: list[Program] = []

    def start(command: list[str], data: Path, **more: str) -> Program:
        program = Program(command, data, **more)
        started.append(program)
        return program

    yield start
    for program in started:
        if program.process.poll() is None:
            below = program.below()
            program.process.kill()
            program.process.communicate()
            eventually(lambda below=below: not alive(below), "what was started to end")
        # A killed stack leaves its directory under /tmp to the next start, and there is none.
        program.data.remove_short_sockets()


@pytest.fixture
def start_stack(start: Callable[..., Program]) -> Callable[..., Program]:
    """Start a whole stack, with stand-ins as stand_in.py explains, and wait until it is ready."""

    def start_stack(data: Path, *stand_ins: str) -> Program:
        stack = start([*STAND_IN, "run", *stand_ins], data)
        eventually(stack.is_ready, "the stack to be ready")
        return stack

    return start_stack


def descendants(pid: int) -> dict[int, str]:
    """All processes below one, each with the time it started, which tells it from a later one."""
    parents, started = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])
        started[int(status.parent.name)] = fields[19]
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: started[child] for child in found - {pid}}


def alive(processes: dict[int, str]) -> set[int]:
    """Which of them still run; a zombie that nobody waits for does not."""
    found = set()
    for pid, started in processes.items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[19] == started and fields[0] not in "ZX":
            found.add(pid)
    return found
