"""Requests that are sent at the same moment, each on a connection of its own."""

import asyncio
import resource
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

# The last of a thousand may wait for all others, on a small machine.
_TIMEOUT_SECONDS = 120
# What a process has open besides the connections of the callers.
_OTHER_FILES = 200


class TooFewFiles(Exception):
    """This process may not open as many connections as it needs; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A POST; `kind` is what the report calls it."""

    kind: str
    path: str
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`status` is None where none came, and `failure` then says why."""

    kind: str
    status: int | None
    milliseconds: float
    body: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


def send_together(
    base_url: str, token: str, requests: Sequence[Request], on_answer: Callable[[], None]
) -> list[Answer]:
    """Connect every caller, then send all requests at once; the answers in the same order.

    `on_answer` is called for each. Raises TooFewFiles.
    """
    _allow_files(len(requests) + _OTHER_FILES)
    return asyncio.run(_send_all(base_url, token, requests, on_answer))


async def _send_all(
    base_url: str, token: str, requests: Sequence[Request], on_answer: Callable[[], None]
) -> list[Answer]:
    everybody_is_connected = asyncio.Barrier(len(requests))
    # One for all: reading the certificates takes longer than a request.
    tls = ssl.create_default_context()

    async def send(request: Request) -> Answer:
        async with httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
            verify=tls,
            trust_env=False,
        ) as client:
            failure = await _connect(client)
            await everybody_is_connected.wait()
            answer = _none(request, failure) if failure else await _post(client, request)
        on_answer()
        return answer

    return list(await asyncio.gather(*map(send, requests)))


async def _connect(client: httpx.AsyncClient) -> str:
    """Open the connection that the request will use; the failure, if there is one."""
    try:
        await client.get("/healthz")
    except httpx.HTTPError as error:
        return repr(error)
    return ""


async def _post(client: httpx.AsyncClient, request: Request) -> Answer:
    started = time.perf_counter()
    try:
        response = await client.post(request.path, json=request.body)
    except httpx.HTTPError as error:
        return _none(request, repr(error))
    milliseconds = (time.perf_counter() - started) * 1000
    try:
        body = response.json()
    except ValueError:
        body = None
    return Answer(
        kind=request.kind,
        status=response.status_code,
        milliseconds=milliseconds,
        body=body if isinstance(body, dict) else {},
    )


def _none(request: Request, failure: str) -> Answer:
    return Answer(kind=request.kind, status=None, milliseconds=0, failure=failure)


def _allow_files(count: int) -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (allowed, most) and most < count:
        raise TooFewFiles(
            f"This needs {count} open files, and {most} are allowed: raise the limit (ulimit -n)."
        )
    if allowed != resource.RLIM_INFINITY and allowed < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))
