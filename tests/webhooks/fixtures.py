"""Playing Vapi: messages over HTTP, a control URL that answers, a clock, tasks that only wait.

The conftest.py of the folders that bill calls take these fixtures from here.
"""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client

from calls import ends
from calls.models import Call
from tests.webhooks.vapi_payloads import VapiCall, encoded
from wallets.models import Organization
from wallets.selectors import ledger_differences

SECRET = "test-webhook-secret"
START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@functools.cache
def client() -> Client:
    """One for all tests: each new one would build the whole stack of middleware again."""
    return Client(raise_request_exception=False)


class Vapi:
    """Posts to our webhooks as Vapi does."""

    def __init__(self, captured: Callable[..., Any]) -> None:
        self._captured = captured

    def post(
        self, body: bytes | dict[str, Any], path: str = "/api/vapi/webhook", **headers: str
    ) -> HttpResponse:
        """The answer to a request; only the headers given here, or else the shared secret."""
        raw_body = body if isinstance(body, bytes) else encoded(body)
        # A test's transaction never commits: what waits for the commit is run here.
        with self._captured(execute=True):
            return client().post(
                path,
                data=raw_body,
                content_type="application/json",
                headers=headers or {"X-Vapi-Secret": SECRET},
            )

    def send(self, message: bytes | dict[str, Any]) -> dict[str, Any]:
        """The JSON that a message is answered with, always under status 200."""
        response = self.post(message)
        assert response.status_code == 200, response.content
        return json.loads(response.content)

    def check(
        self, call: VapiCall, duration_seconds: Any = None, organization_id: Any = None
    ) -> dict[str, Any]:
        """The answer to a status check."""
        headers = {"X-Vapi-Secret": SECRET}
        if organization_id is not None:
            headers["X-Org-Id"] = str(organization_id)
        response = self.post(
            call.status_check(duration_seconds), "/api/vapi/webhook/status-check", **headers
        )
        assert response.status_code == 200, response.content
        return json.loads(response.content)


class EndTasks(list[str]):
    """The orders to end a call that went to the broker, which here runs nothing by itself."""

    def run(self) -> int:
        """Do what a worker would; returns how many there were."""
        waiting = self[:]
        self.clear()
        for call_pk in waiting:
            ends.send_end(call_pk)
        return len(waiting)


class ControlServer:
    """A real HTTP server in the place of Vapi's control URLs.

    `answers` is what the next requests get: a status, or None for no answer at all. When it is
    used up, requests are answered 200. With `all_at_once`, none is answered before so many wait.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: list[int | None] = []
        self.received: list[tuple[str, Any]] = []
        self.stopping = Event()
        self.all_at_once: Barrier | None = None
        self.before_answer: Callable[[], None] = lambda: None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/control"


def _handler(control: Callable[[], ControlServer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server = control()
            server.received.append((self.path, json.loads(body)))
            if server.all_at_once is not None:
                server.all_at_once.wait(60)
            server.before_answer()
            status = server.answers.pop(0) if server.answers else 200
            if status is None:
                server.stopping.wait(10)
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class _ManyAtOnce(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


@contextmanager
def running_control_server() -> Iterator[ControlServer]:
    servers: list[ControlServer] = []
    http = _ManyAtOnce(("127.0.0.1", 0), _handler(lambda: servers[0]))
    servers.append(ControlServer(http.server_port))
    thread = Thread(target=lambda: http.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield servers[0]
    finally:
        servers[0].stopping.set()
        http.shutdown()
        http.server_close()
        thread.join()


class Clock:
    """The time as the program sees it; it stands still until it is moved."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller

    def at(self, seconds: float) -> datetime:
        """Move to this many seconds after the start of the test; returns that moment."""
        moment = after(seconds)
        self._traveller.move_to(moment, tick=False)
        return moment


def after(seconds: float) -> datetime:
    """The moment this many seconds after the start of the test."""
    return START + timedelta(seconds=seconds)


def send_overdue_ends() -> int:
    """Send the orders to end that are due again, as the sweep does; returns how many."""
    overdue = ends.take_overdue()
    ends.send_ends(overdue)
    return len(overdue)


def call_of(call: VapiCall) -> Call:
    """What is known of a call now."""
    return Call.objects.get(vapi_call_id=call.id)


def assert_money(
    organization: Organization, *, balance: int, reserved: int = 0, owed: int = 0
) -> None:
    """The wallet's figures in pence, and that they are what entries and holds add up to."""
    organization.refresh_from_db()
    figures = (organization.balance_pence, organization.reserved_pence, organization.owed_pence)
    assert figures == (balance, reserved, owed)
    assert ledger_differences() == []


@pytest.fixture
def clock() -> Iterator[Clock]:
    with time_machine.travel(START, tick=False) as traveller:
        yield Clock(traveller)


@pytest.fixture
def end_tasks(monkeypatch: pytest.MonkeyPatch) -> EndTasks:
    tasks = EndTasks()
    monkeypatch.setattr(ends.send_end, "delay", tasks.append)
    monkeypatch.setattr(ends, "sweep_at", lambda moments: None)
    return tasks


@pytest.fixture
def vapi(end_tasks: EndTasks, django_capture_on_commit_callbacks: Callable[..., Any]) -> Vapi:
    return Vapi(django_capture_on_commit_callbacks)


@pytest.fixture
def control_server() -> Iterator[ControlServer]:
    with running_control_server() as server:
        yield server
