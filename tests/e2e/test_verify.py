"""`make verify` and `make load-test`, as their users run them: each on a stack of its own."""

import subprocess
import sys

import pytest

from tests.running_stack import stack_environment
from voxbilling.environment import PROJECT_DIR

pytestmark = pytest.mark.e2e


def run(data_dir, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "voxbilling.stack", *arguments],
        cwd=PROJECT_DIR,
        env={**stack_environment(data_dir), "TMPDIR": str(data_dir.parent)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_fresh_stack_is_whole_and_leaves_nothing_behind(tmp_path):
    finished = run(tmp_path / "data", "verify")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.splitlines()[-1] == "This deployment is whole."
    assert "\x1b" not in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_three_load_scenarios_end_as_they_should(tmp_path):
    finished = run(tmp_path / "data", "load-test")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Every expectation was met" in finished.stdout
    for name in ("1: money for one", "2: the same call", "3: one or the other", "p50", "p99"):
        assert name in finished.stdout


def test_a_load_test_that_fails_says_so_and_keeps_what_there_is_to_see(tmp_path):
    # Port 9 is the discard service's: nothing answers there.
    finished = run(tmp_path / "data", "load-test", "--base-url", "http://127.0.0.1:9")

    assert finished.returncode == 1
    assert "Nobody can sign in at http://127.0.0.1:9" in finished.stderr
    [kept] = tmp_path.glob("voxbilling-*/data")
    assert f"Its data and logs are kept in {kept}." in finished.stderr
    assert (kept / "logs" / "web.log").exists()
