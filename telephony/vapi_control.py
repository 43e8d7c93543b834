"""Speaking to live calls through their control URLs, many at the same time.

A control URL is a secret: whoever has it can end the call. No text here names one.
"""

import asyncio
import functools
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

# A control request is a few bytes to a live call; one that takes longer is better sent again.
CONTROL_TIMEOUT_SECONDS = 5.0
MOST_AT_ONCE = 200
# No connection is kept: httpx looks at all that it keeps for each request, which for 500 requests
# took ten times as long as new connections did.
_LIMITS = httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=0)


@dataclass(frozen=True, kw_only=True)
class ControlMessage:
    """What one live call is told: `{"type": "end-call"}` or `{"type": "say", "content": …}`."""

    url: str = field(repr=False)
    body: Mapping[str, Any]


def send_control(messages: Sequence[ControlMessage]) -> list[str | None]:
    """Send all of these at the same time; for each, why Vapi did not take it, or None.

    Never called under a lock or in a transaction.
    """
    return asyncio.run(_send_all(messages)) if messages else []


async def _send_all(messages: Sequence[ControlMessage]) -> list[str | None]:
    # Without a limit of our own, the client would time those out that wait for a connection.
    at_once = asyncio.Semaphore(MOST_AT_ONCE)
    async with httpx.AsyncClient(
        verify=_trusted_certificates(), timeout=CONTROL_TIMEOUT_SECONDS, limits=_LIMITS
    ) as client:

        async def send(message: ControlMessage) -> str | None:
            async with at_once:
                return await _send(client, message)

        results = await asyncio.gather(*map(send, messages), return_exceptions=True)
    # Whatever an address makes httpx or the resolver raise: one must not keep the others from
    # being told, and there are kinds that httpx does not wrap.
    return [
        f"The call's control address failed: {type(result).__name__}."
        if isinstance(result, BaseException)
        else result
        for result in results
    ]


async def _send(client: httpx.AsyncClient, message: ControlMessage) -> str | None:
    async with asyncio.timeout(CONTROL_TIMEOUT_SECONDS):
        response = await client.post(message.url, json=message.body)
    if not response.is_success:
        return f"The call's control address answered {response.status_code}."
    return None


@functools.cache
def _trusted_certificates() -> ssl.SSLContext:
    """Read once: that takes longer than a control request."""
    return httpx.create_ssl_context()
