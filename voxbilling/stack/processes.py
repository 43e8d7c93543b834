"""Child processes: started so that they cannot outlive us, stopped in an orderly way."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voxbilling.environment import PROJECT_DIR
from voxbilling.stack import StackError

_LAUNCHER = Path(__file__).with_name("launch.py")
_LONGEST_LOG_BYTES = 10_000_000
_TICK_SECONDS = 0.01

# Signals in the order in which a child gets them, each with the seconds it has before the next.
STOP_GENTLY = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True)
class Program:
    """What to run, and how it wants to be stopped.

    `orphan_signal` is what it gets when we die without a word. `identity` is explained in
    launch.py. With `stdin`, the program reads that text; without, nothing.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    stop: Sequence[tuple[signal.Signals, float]] = STOP_GENTLY
    orphan_signal: signal.Signals = signal.SIGKILL
    identity: str = "same"
    stdin: str | None = None


class Child:
    """A running program. What it prints goes to its log, or where `output` and `errors` say."""

    def __init__(
        self,
        program: Program,
        logs: Path,
        *,
        lock: int,
        output: int | IO[str] | None = None,
        errors: int | IO[str] | None = None,
    ) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        _bound(self.log)
        with open(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:  # noqa: PTH123
            self._log_start = log.tell()
            # Its own session: a Ctrl-C at the terminal reaches us alone, and we stop the
            # children in order. The inherited lock shows a later start that one still lives.
            self.process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                launcher(program.orphan_signal, program.identity, "--", *program.arguments),
                stdin=subprocess.DEVNULL if program.stdin is None else subprocess.PIPE,
                stdout=log if output is None else output,
                stderr=log if errors is None else errors,
                env=dict(program.environment),
                cwd=PROJECT_DIR,
                start_new_session=True,
                pass_fds=[lock],
                text=True,
            )
        if self.process.stdin is not None:
            # Small enough for the pipe, so this does not wait for the reader.
            with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
                stdin.write(program.stdin or "")

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    def last_lines(self, count: int = 15) -> str:
        """The end of what this run wrote to the log."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 8000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])

    def failure(self) -> StackError:
        """The sentence to show when this child ended by itself."""
        code = self.exit_code or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return StackError(f"{self.name} {how}; its log {self.log} ends:\n{self.last_lines()}")


def launcher(orphan_signal: signal.Signals, identity: str, *rest: str) -> list[str]:
    """The command line of launch.py."""
    # -S and -I skip what a launcher does not need: a start takes 20 ms.
    start = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    return [*start, str(os.getpid()), str(int(orphan_signal)), identity, *rest]


def wait_until(
    ready: Callable[[], bool], children: Iterable[Child], *, seconds: float, what: str
) -> None:
    """Wait for `ready`; StackError when a child ends meanwhile, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        for child in children:
            if child.exit_code is not None:
                raise child.failure()
        if time.monotonic() > deadline:
            raise StackError(f"{what} was not ready within {seconds:.0f} seconds.")
        time.sleep(_TICK_SECONDS)


def stop(children: Sequence[Child]) -> None:
    """Stop the children, all at once, each by its own signals; returns when all are gone."""
    steps = {child.pid: list(child.program.stop) for child in children}
    deadlines = {child.pid: 0.0 for child in children}
    while alive := [child for child in children if child.exit_code is None]:
        for child in alive:
            if time.monotonic() < deadlines[child.pid] or not steps[child.pid]:
                continue
            number, seconds = steps[child.pid].pop(0)
            deadlines[child.pid] = time.monotonic() + seconds
            # Not yet reaped, so its number cannot have gone to another process.
            if number == signal.SIGKILL:
                os.killpg(child.pid, number)
            else:
                child.process.send_signal(number)
        time.sleep(_TICK_SECONDS)


def _bound(log: Path) -> None:
    """Set a log aside when it has grown long, so that the data directory stays small."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LONGEST_LOG_BYTES:
            log.replace(log.with_suffix(".log.old"))
