"""What several tests of the operator's commands need."""

import subprocess
import sys
import time

import httpx
import pytest

from voxbilling.environment import PROJECT_DIR
from voxbilling.stack import ports


@pytest.fixture(scope="module")
def sandbox():
    """The address of a sandbox of its own."""
    with ports.reserve(0) as reserved:
        port = reserved.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "voxbilling.stack.sandbox", "--port", str(port)],
            cwd=PROJECT_DIR,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            give_up_at = time.monotonic() + 60
            while not answers(f"{url}/healthz"):
                assert process.poll() is None
                assert time.monotonic() < give_up_at
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait()


def answers(url):
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
