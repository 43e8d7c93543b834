"""`verify_billing_deployment` as production has it: its role, its settings, a worker and beat that
really run, and what it says when one of them is dead."""

import subprocess
import sys
import time
from contextlib import contextmanager

import psycopg
import pytest

from tests.operations.production import production_environment, production_servers
from voxbilling.environment import PROJECT_DIR
from voxbilling.operations.verification.processes import START_SECONDS
from voxbilling.stack.supervisor import CommandLines

# One cluster and one broker serve all of these tests.
pytestmark = pytest.mark.xdist_group("verify processes")

VERIFY = (
    "from django.core.management import call_command; call_command('verify_billing_deployment')"
)
SETUP = "import django; django.setup()"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with production_servers(tmp_path_factory.mktemp("verify") / "data") as servers:
        yield servers


@pytest.fixture
def environment(servers, tmp_path):
    """Of web, worker, beat and every command, with nothing in the broker yet."""
    environment = production_environment(
        DATABASE_URL=servers.urls["voxbilling_app"],
        REDIS_URL=servers.redis_url,
        VOXBILLING_DATA_DIR=str(tmp_path),
    )
    flush = "from django.core.cache import cache; cache.clear()"
    subprocess.run(
        [sys.executable, "-c", f"{SETUP}; {flush}"], env=environment, cwd=PROJECT_DIR, check=True
    )
    return environment


@contextmanager
def process(name, environment, tmp_path):
    with (tmp_path / f"{name}.log").open("w") as log:
        running = subprocess.Popen(
            getattr(CommandLines(), name),
            env=environment,
            cwd=PROJECT_DIR,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield running
        finally:
            running.kill()
            running.wait()


@pytest.fixture
def worker(environment, tmp_path):
    with process("worker", environment, tmp_path) as worker:
        yield worker


@pytest.fixture
def provider_worker(environment, tmp_path):
    with process("provider_worker", environment, tmp_path) as worker:
        yield worker


@pytest.fixture
def beat(environment, tmp_path):
    with process("beat", environment, tmp_path) as beat:
        yield beat


def verify(environment, *, seconds_later=0):
    """The exit code, and the lines that failed."""
    travel = f"import time, time_machine;time_machine.travel(time.time() + {seconds_later}).start()"
    done = subprocess.run(
        [sys.executable, "-c", f"{SETUP}; {travel}; {VERIFY}"],
        env=environment,
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) > 15, done.stdout + done.stderr
    return done.returncode, [line for line in lines if line.startswith("✗")]


def test_a_whole_production_is_found_whole_until_beat_dies(
    environment, worker, provider_worker, beat
):
    # Given workers and beat that have only been started, and the role that owns nothing
    assert verify(environment) == (0, [])

    # When beat is killed, and half a minute goes by
    beat.kill()
    beat.wait()
    exit_code, failures = verify(environment, seconds_later=30)

    # Then beat is named, with what it should have published, and the sweeps that nobody started
    assert exit_code == 1
    assert [line.split(" (")[0] for line in failures] == [
        "✗ beat: did not publish in time: calls.tasks.watch_live_calls",
        "✗ sweeps: did not end well in time: calls.tasks.watch_live_calls",
    ]


def test_a_dead_worker_is_named(environment, worker, provider_worker, beat):
    # Given the worker for calls is killed, while the other and beat go on
    worker.kill()
    worker.wait()

    # When the deployment is verified, then it waits a while for it, and names it
    started = time.monotonic()
    exit_code, failures = verify(environment)

    assert time.monotonic() - started > START_SECONDS
    assert exit_code == 1
    worker_line, sweeps_line = failures
    assert (
        worker_line
        == "✗ worker: none answers for the queue calls: start Celery with --queues calls"
    )
    # None has ended yet, and by the end of the wait the first of them are late: either may be said.
    assert sweeps_line.startswith("✗ sweeps: ")


def test_without_a_broker_and_with_roles_that_are_wrong_each_is_named(environment, servers):
    # Given a broker that is gone, and a tenant role that the program has all the time
    inherit = "GRANT voxbilling_tenant TO voxbilling_app WITH INHERIT {}, SET {}"
    revoke = "{} DELETE ON calls {} voxbilling_app"
    with psycopg.connect(servers.superuser_url, dbname="voxbilling", autocommit=True) as superuser:
        superuser.execute(inherit.format("TRUE", "TRUE"))
        superuser.execute(revoke.format("REVOKE", "FROM"))
        try:
            exit_code, failures = verify({**environment, "REDIS_URL": "redis://127.0.0.1:9/0"})
        finally:
            superuser.execute(inherit.format("FALSE", "TRUE"))
            superuser.execute(revoke.format("GRANT", "TO"))

    assert exit_code == 1
    assert failures == [
        "✗ database role: voxbilling_app inherits voxbilling_tenant: grant that role WITH INHERIT "
        "FALSE",
        "✗ database role: voxbilling_app lacks DELETE on calls",
        "✗ broker: cannot be reached: look at REDIS_URL, and whether it runs",
    ]


def test_with_a_secret_missing_nothing_starts_and_it_is_named(environment):
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_billing_deployment"],
        env={**environment, "SECRET_KEY": ""},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "cannot start: set SECRET_KEY" in done.stderr.splitlines()[-1]
