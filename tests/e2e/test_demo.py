"""`make demo`, as its users run it."""

import subprocess
import sys

import pytest

from tests.running_stack import stack_environment
from voxbilling.environment import PROJECT_DIR

pytestmark = pytest.mark.e2e


def test_the_demo_bills_over_200_calls_to_the_penny_and_leaves_nothing_running(tmp_path):
    # When the demo runs on an empty data directory
    data_dir = tmp_path / "data of the demo"
    finished = subprocess.run(
        [sys.executable, "-m", "voxbilling.stack", "demo"],
        cwd=PROJECT_DIR,
        env=stack_environment(data_dir),
        capture_output=True,
        text=True,
        timeout=600,
    )

    # Then it is content with what it saw
    assert finished.returncode == 0, finished.stdout + finished.stderr
    printed = finished.stdout
    assert "Every call was charged once, and every penny is accounted for." in printed
    assert "every balance, hold and debt adds up" in printed
    for kind in ("assistant-request", "status-update", "end-of-call-report", "status-check"):
        assert kind in printed
    # and the stack is gone
    assert not (data_dir / "demo.json").exists()
