"""Places for requests of each kind, so that one kind cannot keep another waiting.

Vapi gives up on an answer after seconds. A thousand requests of one customer's program, or a phone
company that is slow, must not take the places of its webhooks, nor all threads. Threads are many,
and cost little while they wait; places are few (voxbilling/capacity.py), and whoever has one may
use a database connection. What is streamed takes a place anew for each chunk.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from voxbilling.capacity import OTHER_PLACES, PROVIDER_PLACES, WAITING_PER_LANE, WEBHOOK_PLACES

logger = structlog.get_logger(__name__)

# A lane in which no place became free for so long has a provider that hangs: waiting is no use.
STALLED_SECONDS = 10
# Who waited for so long has nobody left who waits for the answer.
LONGEST_WAIT_SECONDS = 120
_RETRY_AFTER_SECONDS = 10
_BUSY = "Too many requests are at work, and nothing was done: try again in a moment."

_WEBHOOK_PREFIXES = ("/api/vapi/", "/api/stripe/")
# These wait for a phone company, for Stripe or for a mail server.
_PROVIDER_PREFIXES = (
    "/api/managed-telephony/",
    "/api/billing/wallet/topup",
    "/numbers/search/",
    "/numbers/buy/",
    "/numbers/release/",
)
_PROVIDER_PATHS = {
    "/wallet/top-up/",
    "/wallet/auto-recharge/forget-card/",
    "/password-reset/",
}
# Staff's commands of these pages ask Vapi, Stripe or Twilio, also to show what they would do.
_PROVIDER_COMMANDS = (
    "/admin/calls/",
    "/admin/telephony/",
    "/admin/wallets/topup/",
    "/admin/webhooks/",
)


class Busy(Exception):
    """There is no place, and none to wait in, or it was waited for in vain."""


class Lane:
    """So many places for requests at work, and room for those that wait for one."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting = 0
        self._freed = threading.Condition()
        self._freed_at = time.monotonic()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises Busy."""
        self._take()
        try:
            yield
        finally:
            with self._freed:
                self._free += 1
                self._freed_at = time.monotonic()
                self._freed.notify()

    def _take(self) -> None:
        came_at = time.monotonic()
        with self._freed:
            if not self._free and self._waiting >= WAITING_PER_LANE:
                raise Busy
            self._waiting += 1
            try:
                while not self._free:
                    until = min(
                        came_at + LONGEST_WAIT_SECONDS,
                        max(came_at, self._freed_at) + STALLED_SECONDS,
                    )
                    if (seconds := until - time.monotonic()) <= 0:
                        raise Busy
                    self._freed.wait(seconds)
                self._free -= 1
            finally:
                self._waiting -= 1


# Taken by the webhooks' views themselves, once they have read a body that carries a credential.
WEBHOOKS = threading.BoundedSemaphore(WEBHOOK_PLACES)
_PROVIDERS = Lane(PROVIDER_PLACES)
_OTHERS = Lane(OTHER_PLACES)


class LanesMiddleware:
    """Lets as many requests of each kind at work as have a place; the others wait for theirs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(_WEBHOOK_PREFIXES):
            return self.get_response(request)
        # Before a place is taken, which nobody may keep by sending slowly. One that is too large
        # is refused by whoever reads it.
        with suppress(RequestDataTooBig):
            _ = request.body
        lane = _PROVIDERS if _waits_for_provider(request) else _OTHERS
        try:
            with _at_work(lane):
                response = self.get_response(request)
        except Busy:
            logger.warning("no_place_in_lane", path=request.path)
            return _busy(request)
        # A file is not made by us, chunk by chunk.
        is_file = getattr(response, "file_to_stream", None) is not None
        if isinstance(response, StreamingHttpResponse) and not is_file:
            response.streaming_content = _each_at_work(lane, iter(response))
        return response


@contextmanager
def _at_work(lane: Lane) -> Iterator[None]:
    """A place, and a connection for no longer: whoever reads slowly keeps neither."""
    with lane.place():
        try:
            yield
        finally:
            _give_connections_back()


def _give_connections_back() -> None:
    for connection in connections.all(initialized_only=True):
        # A transaction around the request, as tests have one, needs its connection.
        if not connection.in_atomic_block:
            connection.close()


def _each_at_work(lane: Lane, chunks: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        with _at_work(lane):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _waits_for_provider(request: HttpRequest) -> bool:
    if request.method == "POST" and request.path.startswith(_PROVIDER_COMMANDS):
        return True
    return request.path in _PROVIDER_PATHS or request.path.startswith(_PROVIDER_PREFIXES)


def _busy(request: HttpRequest) -> HttpResponse:
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    if request.path.startswith("/api/"):
        return JsonResponse({"error": _BUSY, "code": "busy"}, status=503, headers=headers)
    return HttpResponse(render_to_string("503.html"), status=503, headers=headers)
