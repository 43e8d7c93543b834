"""One kind of request cannot keep another waiting."""

import threading

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

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
        self._middleware = lanes.LanesMiddleware(self._view)

    def _view(self, request):
        self.inside.release()
        if "stay" in request.GET:
            self.may_go.wait(PATIENCE_SECONDS)
        self.done.append(request.path)
        return HttpResponse()

    def request(self, path: str, **headers: str) -> threading.Thread:
        request = RequestFactory().post(path, data=b"{}", content_type="application/json")
        thread = threading.Thread(target=self._middleware, args=(request,), daemon=True)
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
def server():
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
    assert capacity.WEB_WORKERS * capacity.WEB_THREADS_PER_WORKER >= 1000
