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
FEED = "Could not connect to PyPI's vulnerability feed"
NOT_SEEN = {"name": "other", "skip_reason": "could not be audited"}


def test_a_known_vulnerability_fails_the_check_and_is_named(capsys):
    assert audit.judge([GOOD, BAD, NOT_SEEN]) == 1
    assert "bad 2: PYSEC-1, fixed in 3." in capsys.readouterr().out


def test_without_one_the_check_goes_on(capsys):
    assert audit.judge([GOOD]) == 0
    assert "No known vulnerability in 1 packages." in capsys.readouterr().out


def test_a_service_that_knows_no_package_is_not_taken_for_a_good_word(capsys):
    assert audit.judge([NOT_SEEN, NOT_SEEN]) == 0
    said = capsys.readouterr().out
    assert "left out: none of the 2 packages could be looked up" in said
    assert "No known" not in said


@pytest.mark.parametrize("packages", [[GOOD, NOT_SEEN], []])
def test_what_could_not_be_told_fails_the_check(packages, capsys):
    assert audit.judge(packages) == 1
    assert "No known" not in capsys.readouterr().out


@pytest.fixture
def answers(monkeypatch):
    def answer(outcome, stderr=""):
        def run(command, **_):
            if isinstance(outcome, Exception):
                raise outcome
            return subprocess.CompletedProcess(command, 1, stdout=outcome, stderr=stderr)

        monkeypatch.setattr(audit.subprocess, "run", run)

    return answer


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (subprocess.TimeoutExpired("pip-audit", 1), ""),
        ("", "Traceback\nrequests.exceptions.ProxyError: HTTPSConnectionPool(host='x')"),
        ("", "Traceback\nrequests.exceptions.ReadTimeout: Read timed out. (read timeout=5)"),
        ("", f"ERROR:pip_audit._cli:{FEED}\nERROR:pip_audit._cli:Tip: your network may block it"),
    ],
)
def test_a_service_that_is_not_reached_does_not_stop_the_check(outcome, said, capsys, answers):
    answers(outcome, said)
    assert audit.main() == 0
    assert "The audit of the packages was left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    "said",
    [
        "/bin/python: No module named pip_audit",
        "ERROR:pip_audit._cli:requirement resolvelib==1.0.0 does not contain a hash",
        "ERROR:pip_audit._cli:requirement connection-timeout==1.0.0 does not contain a hash",
        "requests.exceptions.HTTPError: 500 Server Error",
        "",
    ],
)
def test_an_audit_that_went_wrong_fails_the_check(said, capsys, answers):
    answers("", said)
    assert audit.main() == 1
    assert "could not be audited" in capsys.readouterr().out


@pytest.mark.parametrize("written", [None, "", "!!!", "django==2.2.0", "resolvelib==1.0.0"])
def test_requirements_that_cannot_be_read_fail_the_check(written, tmp_path, monkeypatch):
    requirements = tmp_path / "requirements.txt"
    if written is not None:
        requirements.write_text(written)
    monkeypatch.setattr(audit, "REQUIREMENTS", requirements)
    assert audit.main() == 1
