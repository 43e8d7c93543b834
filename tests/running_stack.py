"""A whole stack of its own for the tests that drive voxbilling over HTTP, or in a browser."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from voxbilling.environment import PROJECT_DIR

# What the tests' own servers are known by; the stack brings its own.
SERVER_VARIABLES = {
    "DATABASE_URL",
    "REDIS_URL",
    "DEBUG",
    "SECRET_KEY",
    "VAPI_API_KEY",
    "VAPI_API_URL",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_API_URL",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_API_URL",
    "SITE_URL",
    "EMAIL_URL",
    "VAPI_WEBHOOK_SECRETS",
    "VAPI_WEBHOOK_HMAC_SECRETS",
}
START_SECONDS = 240


def stack_environment(data_dir):
    environment = {
        name: value for name, value in os.environ.items() if name not in SERVER_VARIABLES
    }
    return {**environment, "VOXBILLING_DATA_DIR": str(data_dir), "PORT": "0"}


def open_accounts(stack, money):
    """Organizations with this money, by name: see tests/e2e/open_accounts.py."""
    opened = subprocess.run(
        [
            *(sys.executable, "-m", "tests.e2e.open_accounts"),
            *(f"{name}={pence}" for name, pence in money.items()),
        ],
        cwd=PROJECT_DIR,
        env={**os.environ, **stack["env"], "DJANGO_SETTINGS_MODULE": "voxbilling.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert opened.returncode == 0, opened.stderr
    return json.loads(opened.stdout)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The content of `demo.json` of a running stack."""
    data_dir = tmp_path_factory.mktemp("stack") / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "voxbilling.stack", "run"],
        cwd=PROJECT_DIR,
        env=stack_environment(data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        give_up_at = time.monotonic() + START_SECONDS
        while not (data_dir / "demo.json").exists():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < give_up_at, "the stack did not start"
            time.sleep(0.1)
        yield json.loads((data_dir / "demo.json").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
