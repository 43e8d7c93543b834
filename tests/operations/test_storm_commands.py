"""How a storm is started, and by whom."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from voxbilling.environment import PROJECT_DIR


@pytest.mark.parametrize("calls", ["0", "20001", "-1", "many", "²"])
def test_given_no_number_of_calls_when_a_storm_is_asked_for_then_no_stack_is_started(
    calls: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    storm = subprocess.run(
        [sys.executable, "manage.py", "storm", "--calls", calls],
        cwd=PROJECT_DIR,
        env={**os.environ, "VOXBILLING_DATA_DIR": str(data), "DATABASE_URL": "", "REDIS_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert storm.returncode != 0
    assert "is no whole number from 1 to 20000" in storm.stderr
    assert not data.exists()


def test_given_a_seed_when_a_storm_is_asked_for_then_the_stack_is_told_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[list[str]] = []

    def execv(_path: str, command: list[str]) -> None:
        started.append(command)

    monkeypatch.setattr(os, "execv", execv)
    call_command("storm", "--calls", "50", "--seed", "7")
    call_command("storm")

    stack = [sys.executable, "-m", "voxbilling.stack", "storm"]
    assert started[0] == [*stack, "--calls", "50", "--seed", "7"]
    assert started[1][:-1] == [*stack, "--calls", "1000", "--seed"]
    assert started[1][-1].isdecimal()


@pytest.mark.parametrize("listener", [None, "1"])
def test_given_a_parent_that_is_no_storm_when_it_is_played_then_no_signal_is_sent(
    monkeypatch: pytest.MonkeyPatch, listener: str | None
) -> None:
    def kill(*_: Any) -> None:
        raise AssertionError("would end an innocent process")

    monkeypatch.setattr(os, "kill", kill)
    if listener is not None:
        monkeypatch.setenv("VOXBILLING_STORM_PID", listener)

    with pytest.raises(CommandError, match=r"manage\.py storm"):
        call_command("play_storm", "--calls", "1")
