"""The check that containers run."""

import os
import runpy
import time
from http import HTTPStatus
from unittest import mock

import pytest

from voxbilling.environment import PROJECT_DIR

CHECK = runpy.run_path(str(PROJECT_DIR / "docker/healthcheck.py"))


@pytest.mark.parametrize(
    ("status", "healthy"),
    [(HTTPStatus.OK, True), (HTTPStatus.INTERNAL_SERVER_ERROR, False)],
)
def test_web_is_asked_whether_it_lives(status, healthy):
    with mock.patch("http.client.HTTPConnection") as connection:
        connection.return_value.getresponse.return_value.status = status

        assert CHECK["web"]() is healthy

    connection.return_value.request.assert_called_once_with("GET", "/healthz")


@pytest.mark.parametrize("ending", ["", ".db", ".dat"])
def test_beat_is_healthy_while_it_writes_its_schedule(monkeypatch, tmp_path, ending):
    monkeypatch.setenv("VOXBILLING_DATA_DIR", str(tmp_path))
    assert not CHECK["beat"]()

    schedule = tmp_path / f"celerybeat-schedule{ending}"
    schedule.touch()
    assert CHECK["beat"]()

    long_ago = time.time() - CHECK["BEAT_IS_SILENT_AFTER_SECONDS"] - 60
    os.utime(schedule, (long_ago, long_ago))
    assert not CHECK["beat"]()
