"""The plugin that gives the test suite its servers, as a suite of its own."""

import sys

import pytest

from tests.stack.conftest import alive, eventually
from voxbilling.environment import PROJECT_DIR
from voxbilling.stack.paths import DataDirectory

SUITE = """
import os, time
import pytest
from django.contrib.auth.models import User

@pytest.mark.django_db
@pytest.mark.parametrize("number", range(4))
def test_database(number, settings):
    User.objects.create(username="x")
    assert User.objects.count() == 1
    assert settings.VAPI_WEBHOOK_SECRETS == ["test-webhook-secret"]
    assert settings.VAPI_WEBHOOK_HMAC_SECRETS == ["test-hmac-secret"]
    while os.environ.get("LINGER"):
        time.sleep(0.1)
"""


def suite(tmp_path, *options: str) -> list[str]:
    file = tmp_path / "test_suite.py"
    file.write_text(SUITE)
    config = ["-c", str(PROJECT_DIR / "pyproject.toml"), "-p", "no:cacheprovider"]
    return [sys.executable, "-m", "pytest", "-q", *config, *options, str(file)]


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_a_suite_gets_servers_and_leaves_nothing(start, tmp_path, options):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run = start(suite(tmp_path, *options), tmp_path / "unused", TMPDIR=str(temporary))
    code, output, errors = run.end()
    assert code == 0, output + errors
    assert "4 passed" in output
    assert [path.name for path in temporary.iterdir() if "voxbilling" in path.name] == []
    assert not (tmp_path / "unused").exists()


def test_a_killed_suites_servers_die_with_it(start, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run = start(suite(tmp_path), tmp_path / "unused", TMPDIR=str(temporary), LINGER="1")
    eventually(lambda: len(run.below()) > 5, "the servers to run")
    below = run.below()
    run.process.kill()
    run.process.communicate()
    eventually(lambda: not alive(below), "the servers to end")
    # Nobody was left to take away what a long path needs outside it.
    for record in temporary.rglob("sockets-directory"):
        DataDirectory(record.parent).remove_short_sockets()
