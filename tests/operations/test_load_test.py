"""`load_test_billing` finds a server that takes no locks, and is content with one that does."""

import asyncio
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.core.servers.basehttp import ThreadedWSGIServer
from psycopg.errors import LockNotAvailable

from voxbilling.operations.latencies import percentiles
from voxbilling.operations.load_test import callers
from voxbilling.operations.load_test.callers import Request, TooFewFiles, send_together
from wallets import locks
from wallets.models import Organization

POST = Request(kind="post", path="/post", body={})


@pytest.fixture(scope="module")
def roomy_server(request):
    """Django's server in this process; by itself it turns away whom it has no thread for yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadedWSGIServer, "request_queue_size", 1024)
        yield request.getfixturevalue("live_server")


@pytest.fixture
def load(transactional_db, roomy_server, settings, sandbox):
    """Load this very process's server."""
    settings.DEBUG = True
    settings.VAPI_API_URL = f"{sandbox}/vapi"
    settings.TWILIO_API_URL = f"{sandbox}/twilio"

    def load(scenario):
        call_command(
            "load_test_billing",
            base_url=roomy_server.url,
            scenario=scenario,
            provisions=12,
            reservations=12,
        )

    return load


@contextmanager
def no_lock():
    """Everybody has read what it decides on before anybody writes."""

    def read(organization_id):
        organization = Organization.objects.get(pk=organization_id)
        time.sleep(0.3)
        return organization

    users = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("wallets.", "telephony.", "calls."))
        and getattr(module, "lock_organization", None) is locks.lock_organization
    ]
    assert {"wallets.locks", "wallets.ledger.assets"} <= {module.__name__ for module in users}
    with pytest.MonkeyPatch.context() as patch:
        for module in users:
            patch.setattr(module, "lock_organization", read)
        # Whom the unique index of call ids stops looks again, and finds what the other one made:
        # for one call that is as good as the lock. Here it is stopped, and that is that.
        patch.setattr(locks, "UniqueViolation", LockNotAvailable)
        yield


def test_a_server_that_locks_meets_every_expectation(load, capsys):
    load("all")

    printed = capsys.readouterr().out
    assert "Every expectation was met" in printed
    for found in ("402", "201", "200", "p95"):
        assert found in printed


@pytest.mark.parametrize("scenario", ["1", "2", "3"])
def test_a_server_that_takes_no_lock_is_found_out(load, scenario):
    with no_lock(), pytest.raises(CommandError) as failure:
        load(scenario)

    assert f"Scenario {scenario}: " in str(failure.value)
    assert "The answers should be" in str(failure.value)


@pytest.mark.parametrize("setting", ["TWILIO_API_URL", "VAPI_API_URL", "--base-url"])
@pytest.mark.parametrize(
    "url",
    [
        "https://api.twilio.com",
        "https://api.dublin.ie1.twilio.com",
        "https://127.0.0.1@api.twilio.com",
        "https://127.0.0.1.example.com",
        "https://localhost.example.com",
        "http://192.168.1.2:8000",
        "http://0.0.0.0:8000",
        "127.0.0.1:8000",
        "https://[",
        "",
    ],
)
def test_what_may_be_real_money_is_left_alone(settings, setting, url):
    settings.DEBUG = True
    base_url = "http://127.0.0.1:9"
    if setting == "--base-url":
        base_url = url
    else:
        setattr(settings, setting, url)

    with pytest.raises(CommandError, match="made-up money"):
        call_command("load_test_billing", base_url=base_url)


def test_production_is_left_alone(settings):
    settings.DEBUG = False

    with pytest.raises(CommandError, match="made-up money"):
        call_command("load_test_billing", base_url="http://127.0.0.1:9")


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.8.0.1:9", "http://[::1]:9"])
def test_this_machine_is_not_taken_for_real_money(settings, url):
    settings.DEBUG = True
    settings.TWILIO_API_URL = settings.VAPI_API_URL = f"{url}/sandbox"

    with pytest.raises(CommandError, match="Nobody can sign in"):
        call_command("load_test_billing", base_url=url)


def test_a_price_that_the_scenarios_do_not_mean_is_named(settings):
    settings.DEBUG = True
    settings.PHONE_NUMBER_COST_PENCE = 900

    with pytest.raises(CommandError, match="unset PHONE_NUMBER_COST_PENCE"):
        call_command("load_test_billing", base_url="http://127.0.0.1:9")


@pytest.mark.parametrize("count", ["1", "-5", "many", "10001"])
def test_a_count_that_cannot_be_is_refused(count):
    with pytest.raises(CommandError, match="from 2 to 10000"):
        call_command("load_test_billing", f"--provisions={count}")


class Meeting:
    """A server that answers a POST only when `expected` of them have arrived."""

    def __init__(self, expected):
        self.expected = expected
        self.connections = self.arrived = 0

    async def answer(self, reader, writer):
        self.connections += 1
        while request := (await reader.readuntil(b"\r\n\r\n")):
            if request.startswith(b"POST"):
                await reader.readexactly(2)
                self.arrived += 1
                if self.arrived == self.expected:
                    self.all_are_here.set()
                await self.all_are_here.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

    @contextmanager
    def serve(self):
        loop = asyncio.new_event_loop()
        self.all_are_here = asyncio.Event()
        server = loop.run_until_complete(
            asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=1024)
        )
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


def test_all_requests_are_under_way_at_the_same_time_on_connections_that_were_open():
    meeting = Meeting(expected=300)
    heard = []

    with meeting.serve() as url:
        answers = send_together(url, "token", [POST] * 300, lambda: heard.append(1))

    assert [answer.status for answer in answers] == [200] * 300
    assert meeting.connections == len(heard) == 300


def test_a_refused_connection_is_an_answer_that_did_not_come():
    answers = send_together("http://127.0.0.1:9", "token", [POST] * 3, lambda: None)

    assert [answer.status for answer in answers] == [None] * 3
    assert all("ConnectError" in answer.failure for answer in answers)


def test_too_few_files_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.setattr(callers.resource, "getrlimit", lambda _: (256, 1024))

    with pytest.raises(TooFewFiles, match="needs 1200 open files, and 1024 are allowed"):
        send_together("http://127.0.0.1:9", "token", [POST] * 1000, lambda: None)


def test_percentiles_are_those_of_answers_that_came():
    assert percentiles([float(number) for number in range(100, 0, -1)]) == [50, 95, 99]
    assert percentiles([7.0]) == [7, 7, 7]
