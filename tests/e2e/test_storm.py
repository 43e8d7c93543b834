"""A short storm, as an operator would play it."""

import subprocess
import sys

import pytest

from tests.running_stack import stack_environment
from voxbilling.environment import PROJECT_DIR

pytestmark = pytest.mark.e2e

CALLS, SEED = 80, 11


def test_given_a_short_storm_when_it_is_over_then_every_call_was_charged_once(tmp_path) -> None:
    storm = subprocess.run(
        [sys.executable, "manage.py", "storm", "--calls", str(CALLS), "--seed", str(SEED)],
        cwd=PROJECT_DIR,
        env=stack_environment(tmp_path / "unused"),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    assert storm.returncode == 0, storm.stdout + storm.stderr
    assert f"Seed {SEED}: {CALLS} calls" in storm.stdout
    for disturbance in ("a worker is killed", "the database is restarted", "API is down"):
        assert disturbance in storm.stdout
    for figure in ("overrun", "p50", "p99", "calls not billed", "calls billed twice"):
        assert figure in storm.stdout
    assert not (tmp_path / "unused").exists()
