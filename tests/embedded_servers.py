"""A pytest plugin: the test suite on a PostgreSQL and a Valkey of its own.

Loaded by `-p tests.embedded_servers`, and so before pytest-django reads settings. If the caller
set DATABASE_URL and REDIS_URL, those are used. Otherwise the servers run in a fresh directory
while the tests run. With pytest-xdist, the first process runs them and the others inherit its
environment; each makes a test database of its own.

This cluster alone does without fsync: what a crash would lose is a test database.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from voxbilling import environment
from voxbilling.stack import StackError
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.servers import open_owner_lock, running

# Some forty threads in each of a dozen xdist workers, each with a connection.
_MAX_CONNECTIONS = 600
_SETTINGS = {
    "DEBUG": "1",
    "SECRET_KEY": "for-tests-only-for-tests-only-for-tests-only-for-tests-only",
    "VAPI_API_KEY": "test-vapi-key",
    # Nothing answers there: a test that calls Vapi says so, and gives an address.
    "VAPI_API_URL": "http://127.0.0.1:9/vapi",
    "TWILIO_ACCOUNT_SID": "ACtest",
    "TWILIO_AUTH_TOKEN": "test-twilio-token",
    "TWILIO_API_URL": "http://127.0.0.1:9/twilio",
    "STRIPE_SECRET_KEY": "sk_test_for_tests",
    "STRIPE_WEBHOOK_SECRET": "whsec_for_tests_only",
    "STRIPE_API_URL": "http://127.0.0.1:9/stripe",
    "SITE_URL": "http://testserver",
    "VAPI_WEBHOOK_SECRETS": "test-webhook-secret",
    "VAPI_WEBHOOK_HMAC_SECRETS": "test-hmac-secret",
}
_cleanup = ExitStack()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config, parser, args):
    # `.env` is a developer's own: its prices, keys and servers are no business of the tests.
    environment.read_dotenv = lambda: None
    # The processes of pytest-xdist inherit the first one's servers with its environment.
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        _start()
        early_config.add_cleanup(_cleanup.close)
    os.environ.update(_SETTINGS)
    return (yield)


def _start() -> None:
    directory = Path(tempfile.mkdtemp(prefix="voxbilling-test-"))
    _cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
    data = DataDirectory(directory / "data")
    is_new = data.create()
    owner = open_owner_lock(data)
    owner.take()
    try:
        servers = _cleanup.enter_context(
            running(
                data,
                owner,
                what="pytest",
                data_is_new=is_new,
                max_connections=_MAX_CONNECTIONS,
                durable=False,
            )
        )
    except StackError as error:
        _cleanup.close()
        raise pytest.UsageError(str(error)) from None
    os.environ["DATABASE_URL"] = servers.database_url
    os.environ["REDIS_URL"] = servers.redis_url
    os.environ["VOXBILLING_DATA_DIR"] = str(data.root)
