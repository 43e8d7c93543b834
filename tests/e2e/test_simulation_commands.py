"""The commands that play calls, joining the stack that runs in their data directory."""

import subprocess
import sys

import pytest

from tests.running_stack import stack_environment
from voxbilling.environment import PROJECT_DIR

pytestmark = pytest.mark.e2e


def run(stack, *command):
    ended = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=PROJECT_DIR,
        env=stack_environment(stack["env"]["VOXBILLING_DATA_DIR"]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_the_kill_switch_of_a_running_stack_works(stack):
    code, printed, errors = run(stack, "test_kill_switch")
    assert (code, errors) == (0, "")
    assert printed.endswith("The kill switch works.\n")


def test_a_call_at_a_running_stack_is_charged(stack):
    shop = stack["organizations"][1]
    code, printed, errors = run(
        stack, "simulate_call", "--organization", shop["id"], "--minutes", "1"
    )
    assert (code, errors) == (0, "")
    assert "Charged 49p." in printed


def test_a_server_that_is_not_there_makes_a_command_fail(stack):
    for command in ("test_kill_switch", "simulate_call"):
        code, _, errors = run(stack, command, "--base-url", "http://127.0.0.1:9")
        assert code == 1
        assert "127.0.0.1:9" in errors
