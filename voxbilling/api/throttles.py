"""How often somebody may ask: counted in Valkey, in windows that begin at fixed moments.

A count is one number that Valkey increments, so requests at once are counted right. It expires by
itself. Nothing that money needs depends on it: while Valkey is down, requests go on uncounted.
"""

import hashlib
import math
import time
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache as django_cache
from redis import Redis
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from voxbilling.valkey import UNREACHABLE

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How many requests somebody may make in each window."""

    name: str
    requests: int
    window_seconds: int


# A thousand at once pass, and a few times that; a program that has run wild is slowed down.
PER_USER = Limit(name="user", requests=3_000, window_seconds=60)
PER_ORGANIZATION = Limit(name="organization", requests=3_000, window_seconds=60)
# Wrong passwords. An office may share an address.
WRONG_PER_USER_NAME = Limit(name="wrong-user-name", requests=20, window_seconds=300)
WRONG_PER_ADDRESS = Limit(name="wrong-address", requests=100, window_seconds=300)
# A statement is as long as its month.
DOWNLOADS_PER_ORGANIZATION = Limit(name="downloads", requests=30, window_seconds=300)
# E-mails with a link to set a new password.
RESETS_PER_ADDRESS = Limit(name="password-reset", requests=10, window_seconds=300)

# While Valkey does not answer, each process asks it once in so many seconds: a request that waits
# for its time-out is a slow one.
_ASK_AGAIN_SECONDS = 5
_silent_until = 0.0


def count(limit: Limit, who: str) -> str:
    """Count one more request of somebody's; what comes back can be given to `give_back`.

    Raises Throttled, with the seconds until the next window, if it is one too many.
    """
    window, elapsed_seconds = divmod(time.time(), limit.window_seconds)
    # Hashed: whatever people send as their name makes a key that is short and safe.
    hashed = hashlib.sha256(who.encode()).hexdigest()[:32]
    key = django_cache.make_key(f"throttle:{limit.name}:{int(window)}:{hashed}")
    counted = _add(key, 1, limit.window_seconds)
    if counted is not None and counted > limit.requests:
        # What was refused was not done: it must not keep others out who come later.
        give_back(key)
        raise Throttled(wait=math.ceil(limit.window_seconds - elapsed_seconds))
    return key


def give_back(key: str) -> None:
    """Undo what `count` counted."""
    _add(key, -1, 1)


def _add(key: str, difference: int, window_seconds: int) -> int | None:
    """The new count; None while Valkey does not answer."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return None
    # In one round trip. A count that is there keeps its number, and outlives its window by no more
    # than this.
    commands = _valkey().pipeline(transaction=False)
    commands.set(key, 0, ex=2 * window_seconds, nx=True)
    commands.incrby(key, difference)
    try:
        return int(commands.execute()[-1])
    except UNREACHABLE as error:
        _silent_until = time.monotonic() + _ASK_AGAIN_SECONDS
        logger.warning("requests_not_counted", error=str(error))
        return None


@cache
def _valkey() -> Redis:
    """The server of Django's cache. Its own `incr` takes three round trips where this takes one."""
    server = settings.CACHES["default"]
    return Redis.from_url(server["LOCATION"], **server["OPTIONS"])


class PerUser(BaseThrottle):
    """Counts the requests of whoever signed in; strangers are not counted."""

    def allow_request(self, request: Request, _view: Any) -> bool:
        if request.user:
            count(PER_USER, str(request.user.pk))
        return True


def address_of(request: Request) -> str:
    """Where a request comes from: an IPv4 address, or an IPv6 network of one customer's size."""
    # A server behind a Unix socket knows no address.
    text = BaseThrottle().get_ident(request) or ""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return str(
        ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address
    )
