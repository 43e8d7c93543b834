"""The scope holds where a transaction may get any server connection: PgBouncer in transaction mode.

A real PgBouncer, where one is installed (Debian and Ubuntu: apt-get install pgbouncer).
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection, transaction

from tests.concurrency.harness import run_together
from tests.tenancy.conftest import make_tenant
from tests.tenancy.state import state, tenant_state
from tests.wallets.invariants import rows
from voxbilling.stack import identity
from voxbilling.stack.processes import launcher
from voxbilling.tenancy import tenant_scope
from wallets import ledger
from wallets.models import CreditReservation, Organization

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer is installed")

SERVER_CONNECTIONS = 2
CLIENTS = 8
PORT = 6432  # of a socket in a directory of our own


@pytest.fixture
def behind_pgbouncer(transactional_db):
    """Django's connections go through a PgBouncer with fewer connections than there are threads."""
    parameters = connection.get_connection_params()
    host = parameters.get("host", "127.0.0.1")
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    users, configuration = directory / "users", directory / "pgbouncer.ini"
    users.write_text(f'"{parameters["user"]}" "{parameters.get("password", "")}"\n')
    configuration.write_text(
        f"""
        [databases]
        * = host={host} port={parameters.get("port", 5432)}
        [pgbouncer]
        pool_mode = transaction
        default_pool_size = {SERVER_CONNECTIONS}
        max_client_conn = 100
        unix_socket_dir = {directory}
        listen_port = {PORT}
        auth_type = scram-sha-256
        auth_file = {users}
        """
    )
    # It refuses to be root, and must get at PostgreSQL's socket: it runs as PostgreSQL does.
    runs_as = identity.choose()
    runs_as.give(directory, users, configuration)
    log = (directory / "log").open("w")
    bouncer = subprocess.Popen(
        launcher(signal.SIGTERM, runs_as.argument, "--", PGBOUNCER, str(configuration)),
        stdout=log,
        stderr=log,
    )
    address = directory / f".s.PGSQL.{PORT}"
    settings = connection.settings_dict
    before = settings["HOST"], settings["PORT"]
    try:
        deadline = time.monotonic() + 30
        while not answers(address):
            printed = (directory / "log").read_text()
            assert bouncer.poll() is None, printed
            assert time.monotonic() < deadline, printed
            time.sleep(0.02)
        connection.close()
        connection.close_pool()
        settings.update(HOST=str(directory), PORT=str(PORT))
        yield
    finally:
        connection.close()
        connection.close_pool()
        settings.update(HOST=before[0], PORT=before[1])
        bouncer.terminate()
        bouncer.wait(30)
        log.close()
        shutil.rmtree(directory)


def answers(address):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


def test_given_tenants_that_share_server_connections_then_each_sees_its_own(behind_pgbouncer):
    outside = state()
    tenants = [make_tenant(f"tenant {number}") for number in range(CLIENTS - 1)]

    def read(tenant):
        seen, backends, choice = set(), set(), random.Random(tenant.organization.name)
        for _ in range(30):
            if choice.random() < 0.3:
                # Whatever server connection this gets: nobody has left a role or a name on it.
                with transaction.atomic():
                    seen.add((state() == outside, Organization.objects.count() == len(tenants)))
            with tenant_scope(tenant.id):
                backends.add(rows("SELECT pg_backend_pid()")[0])
                seen.add(
                    (
                        state() == tenant_state(tenant.id),
                        [*Organization.objects.all()] == [tenant.organization],
                    )
                )
            if choice.random() < 0.3:
                with pytest.raises(ProgrammingError, match="denied"), tenant_scope(tenant.id):
                    rows("SELECT * FROM webhook_events")
        return seen, backends

    def bill():
        for number in range(30):
            ledger.reserve_call_credits(organization_id=tenants[0].id, call_id=f"call {number}")
            ledger.release_reservation(call_id=f"call {number}")
        return {(True, True)}, set()

    outcomes = run_together([lambda tenant=tenant: read(tenant) for tenant in tenants] + [bill])

    assert [outcome.error for outcome in outcomes] == [None] * CLIENTS
    assert {result for outcome in outcomes for result in outcome.result[0]} == {(True, True)}
    backends = set().union(*(outcome.result[1] for outcome in outcomes))
    assert len(backends) <= SERVER_CONNECTIONS  # they were really shared
    assert CreditReservation.objects.count() == len(tenants) + 30
    assert state() == outside


def test_given_session_settings_then_they_would_reach_somebody_else(behind_pgbouncer):
    """The control: what SET without LOCAL does here, so the test above can fail."""

    def ask(role):
        if role:
            with connection.cursor() as cursor:
                cursor.execute(f"SET ROLE {role}")
        return state()[1]

    outcomes = []
    try:
        ask("voxbilling_tenant")
        for _ in range(CLIENTS):
            outcomes += run_together([lambda: ask(None)] * SERVER_CONNECTIONS)
        assert "voxbilling_tenant" in {outcome.result for outcome in outcomes}
    finally:
        for _ in range(SERVER_CONNECTIONS):
            ask("NONE")
