"""One kind of request cannot keep another waiting."""

import json
import threading
import time

import pytest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from tests.factories import UserFactory
from tests.webhooks.fixtures import SECRET
from voxbilling import capacity, lanes
from webhooks import views

PATIENCE_SECONDS = 30
OTHER, PROVIDER = "/api/billing/wallet", "/api/managed-telephony/provision"


class Server:
    """The middleware around a view in which requests stay until they may go."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.inside = threading.Semaphore(0)
        self.done: list[str] = []
        self._threads: list[threading.Thread] = []
        self.answers: list[HttpResponse] = []
        middleware = lanes.LanesMiddleware(self._view)
        self._ask = lambda request: self.answers.append(middleware(request))

    def _view(self, request):
        self.inside.release()
        if "stay" in request.GET:
            self.may_go.wait(PATIENCE_SECONDS)
        self.done.append(request.path)
        return HttpResponse()

    def request(self, path: str, **headers: str) -> threading.Thread:
        request = RequestFactory().post(path, data=b"{}", content_type="application/json")
        thread = threading.Thread(target=self._ask, args=(request,), daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def fill(self, path: str, places: int) -> None:
        for _ in range(places):
            self.request(f"{path}?stay=1")
        for _ in range(places):
            assert self.inside.acquire(timeout=PATIENCE_SECONDS)

    def leave(self) -> None:
        self.may_go.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def server(monkeypatch):
    # Lanes that no other test has used.
    monkeypatch.setattr(lanes, "_OTHERS", lanes.Lane(capacity.OTHER_PLACES))
    monkeypatch.setattr(lanes, "_PROVIDERS", lanes.Lane(capacity.PROVIDER_PLACES))
    server = Server()
    yield server
    server.leave()


@pytest.mark.parametrize(
    ("full", "places", "free"),
    [
        (OTHER, capacity.OTHER_PLACES, PROVIDER),
        (PROVIDER, capacity.PROVIDER_PLACES, OTHER),
        (OTHER, capacity.OTHER_PLACES, "/api/vapi/webhook"),
        (PROVIDER, capacity.PROVIDER_PLACES, "/api/vapi/webhook"),
        ("/numbers/search/", capacity.PROVIDER_PLACES, "/numbers/"),
        ("/numbers/buy/", capacity.PROVIDER_PLACES, "/numbers/orders/1/"),
        ("/numbers/release/1/", capacity.PROVIDER_PLACES, "/numbers/"),
        # Staff suspend whom they must while Stripe or Vapi hangs.
        (
            "/admin/wallets/topup/1/refund/",
            capacity.PROVIDER_PLACES,
            "/admin/wallets/organization/1/suspend/",
        ),
        ("/admin/calls/call/", capacity.PROVIDER_PLACES, "/admin/wallets/organization/"),
        ("/admin/webhooks/webhookevent/", capacity.PROVIDER_PLACES, OTHER),
        ("/admin/telephony/phonenumber/", capacity.PROVIDER_PLACES, OTHER),
    ],
)
def test_given_all_places_of_a_kind_taken_then_another_kind_is_answered(server, full, places, free):
    server.fill(full, places)
    server.request(free).join(PATIENCE_SECONDS)
    assert server.done == [free]


def test_given_all_places_taken_then_the_next_of_the_kind_waits_for_one(server):
    server.fill(OTHER, capacity.OTHER_PLACES)
    waiting = server.request(OTHER)
    waiting.join(0.2)
    assert waiting.is_alive()
    assert not server.inside.acquire(blocking=False)
    server.leave()
    assert len(server.done) == capacity.OTHER_PLACES + 1


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (PROVIDER, "application/json"),
        ("/api/billing/wallet/topup", "application/json"),
        ("/wallet/top-up/", "text/html; charset=utf-8"),
    ],
)
def test_given_a_lane_that_stands_still_then_who_waits_is_told_to_come_back(
    server, monkeypatch, path, content_type
):
    # Given a provider that answers nobody
    server.fill(PROVIDER, capacity.PROVIDER_PLACES)
    monkeypatch.setattr(lanes, "STALLED_SECONDS", 0.2)

    # When another request has waited for a while
    server.request(path).join(PATIENCE_SECONDS)

    # Then it is told so, and its thread is free
    [answer] = server.answers
    assert (answer.status_code, answer["Content-Type"]) == (503, content_type)
    assert answer["Retry-After"] == "10"
    assert b"try again" in answer.content
    assert server.done == []


def test_given_a_lane_that_moves_on_then_who_waits_is_let_in_however_long_it_takes(
    server, monkeypatch
):
    # Given places that become free, one after another, for longer than a lane may stand still
    monkeypatch.setattr(lanes, "STALLED_SECONDS", 0.5)
    lane = lanes.Lane(1)
    monkeypatch.setattr(lanes, "_OTHERS", lane)
    came_in = []

    def stay():
        with lane.place():
            came_in.append(1)
            time.sleep(0.15)

    threads = [threading.Thread(target=stay) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert len(came_in) == 10


def test_given_a_lane_that_moves_on_then_nobody_waits_for_ever(monkeypatch):
    lane = lanes.Lane(1)
    monkeypatch.setattr(lanes, "LONGEST_WAIT_SECONDS", 0.2)
    with lane.place(), pytest.raises(lanes.Busy), lane.place():
        raise AssertionError("there was one place")
    with lane.place():
        pass


def test_given_as_many_waiting_as_may_then_another_is_refused_at_once(server, monkeypatch):
    monkeypatch.setattr(lanes, "WAITING_PER_LANE", 3)
    server.fill(PROVIDER, capacity.PROVIDER_PLACES)
    for _ in range(3):
        server.request(PROVIDER).join(0.05)

    server.request(PROVIDER).join(PATIENCE_SECONDS)

    assert [answer.status_code for answer in server.answers] == [503]
    assert json.loads(server.answers[0].content)["code"] == "busy"
    # The others have their turn.
    server.leave()
    assert len(server.done) == capacity.PROVIDER_PLACES + 3


def test_a_stream_has_a_place_and_a_connection_while_a_chunk_is_made_and_not_between(
    monkeypatch,
):
    """Whoever reads slowly, or many at once, must not keep webhooks from the database."""
    lane = lanes.Lane(1)
    monkeypatch.setattr(lanes, "_OTHERS", lane)
    happened = []
    monkeypatch.setattr(lanes, "_give_connections_back", lambda: happened.append("given back"))

    def chunks():
        for number in range(3):
            happened.append(f"chunk {number}, {lane._free} free")
            yield b"x"

    middleware = lanes.LanesMiddleware(lambda _request: StreamingHttpResponse(chunks()))
    response = middleware(RequestFactory().get("/wallet/statement.csv"))
    assert happened == ["given back"]
    for _ in response:
        happened.append(f"read, {lane._free} free")

    one = ["given back", "read, 1 free"]
    assert happened == [
        "given back",
        *("chunk 0, 0 free", *one),
        *("chunk 1, 0 free", *one),
        *("chunk 2, 0 free", *one),
        "given back",
    ]


@pytest.mark.django_db(transaction=True)
def test_a_request_that_is_done_has_no_connection_any_more_though_its_answer_is_not_read(client):
    middleware = lanes.LanesMiddleware(lambda _request: HttpResponse(str(UserFactory().pk)))
    middleware(RequestFactory().get("/wallet/"))
    assert connection.connection is None


def test_a_webhook_takes_its_place_with_its_body_and_gives_it_back(monkeypatch, client):
    taken = []

    def receive(body):
        taken.append(lanes.WEBHOOKS._value)

    monkeypatch.setattr(views.inbox, "receive_vapi", receive)
    for _ in range(2 * capacity.WEBHOOK_PLACES):
        answer = client.post(
            "/api/vapi/webhook",
            data=b"{}",
            content_type="application/json",
            headers={"X-Vapi-Secret": SECRET},
        )
        assert answer.status_code == 200
    assert set(taken) == {capacity.WEBHOOK_PLACES - 1}
    client.post("/api/vapi/webhook", data=b"{}", content_type="application/json")
    assert lanes.WEBHOOKS._value == capacity.WEBHOOK_PLACES


def test_all_places_have_a_connection_and_one_is_left():
    places = capacity.WEBHOOK_PLACES + capacity.PROVIDER_PLACES + capacity.OTHER_PLACES
    assert places < capacity.DATABASE_POOL_MAX_CONNECTIONS


def test_a_thousand_at_once_find_room_and_leave_threads_for_webhooks():
    # The kernel gives each process half of a thousand, give or take six times sixteen.
    assert capacity.WAITING_PER_LANE >= 1000 // capacity.WEB_WORKERS + 6 * 16
    in_lanes = 2 * capacity.WAITING_PER_LANE + capacity.OTHER_PLACES + capacity.PROVIDER_PLACES
    assert in_lanes + 10 * capacity.WEBHOOK_PLACES <= capacity.WEB_THREADS_PER_WORKER
