"""What `make check` says of known vulnerabilities."""

import importlib.util
import subprocess

import pytest

from voxbilling.environment import PROJECT_DIR

_spec = importlib.util.spec_from_file_location("audit", PROJECT_DIR / ".ci/audit.py")
audit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(audit)

GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
NOT_SEEN = {"name": "other", "skip_reason": "could not be audited"}


def test_a_known_vulnerability_fails_the_check_and_is_named(capsys):
    assert audit.judge([GOOD, BAD, NOT_SEEN]) == 1
    assert "bad 2: PYSEC-1, fixed in 3." in capsys.readouterr().out


def test_without_one_the_check_goes_on(capsys):
    assert audit.judge([GOOD]) == 0
    assert "No known vulnerability in 1 packages." in capsys.readouterr().out


@pytest.mark.parametrize("packages", [[GOOD, NOT_SEEN], []])
def test_packages_that_could_not_be_looked_up_are_not_called_good(packages, capsys):
    assert audit.judge(packages) == 0
    said = capsys.readouterr().out
    assert "left out" in said
    assert "No known" not in said


@pytest.mark.parametrize("outcome", ["no json", "", subprocess.TimeoutExpired("pip-audit", 1)])
def test_a_service_that_is_not_reached_does_not_stop_the_check(outcome, capsys, monkeypatch):
    def run(command, **_):
        if isinstance(outcome, Exception):
            raise outcome
        return subprocess.CompletedProcess(command, 1, stdout=outcome, stderr="")

    monkeypatch.setattr(audit.subprocess, "run", run)

    assert audit.main() == 0
    assert "The audit of the packages was left out" in capsys.readouterr().out
