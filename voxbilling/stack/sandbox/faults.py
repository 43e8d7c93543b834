"""What goes wrong at a provider, on request.

    POST /faults    {"provider": "twilio", "operation": "buy", "fault": "timeout_after"}
    GET /faults     those that have not happened yet
    DELETE /faults  none of them any more

A fault waits for the next request for its operation, and happens to as many of them as `times`
says (1 if it says nothing). Several faults of one operation happen one after the other.

    timeout_before  nothing is done, and no answer comes
    timeout_after   the work is done, and no answer comes
    slow            the work is done and answered, but late: a client that hung up gets it done too
    401, 429        refused, nothing is done
    500             nothing is done
    500_after       the work is done, and the answer is 500
    gone            what the request names is gone by now, as if somebody else had taken it

Without an answer, the connection breaks after `seconds`; `slow` waits as long before it begins. 30
seconds are longer than our clients wait, 0 breaks at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from voxbilling.stack.sandbox.bodies import json_of

Endpoint = Callable[[Request], Awaitable[Response]]
Losing = Callable[[Request], Awaitable[None]]

_KINDS = {"timeout_before", "timeout_after", "slow", "401", "429", "500", "500_after"}
_FIELDS = {"provider", "operation", "fault", "times", "seconds"}
_SECONDS = 30
_MOST_SECONDS = 600
_MOST_TIMES = 1_000
_MOST_FAULTS = 1_000


@dataclass(kw_only=True)
class _Fault:
    provider: str
    operation: str
    fault: str
    times: int
    seconds: float


class _NoAnswer(Response):
    """Breaks the connection in the middle of an answer that says nothing yet."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


class Faults:
    """The faults that are still to come. Each provider's operations make themselves known."""

    def __init__(self) -> None:
        self._queue: list[_Fault] = []
        self._kinds: dict[tuple[str, str], set[str]] = {}

    def can_hit(
        self,
        provider: str,
        operation: str,
        *,
        failure: Callable[[int], Response],
        lose: Losing | None = None,
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorate an endpoint that faults can hit.

        `failure` makes the provider's answer of a status; `lose` does what `gone` means.
        """
        self._kinds[provider, operation] = _KINDS | ({"gone"} if lose else set())

        def decorate(endpoint: Endpoint) -> Endpoint:
            async def answer(request: Request) -> Response:
                fault = self._next(provider, operation)
                if fault is None:
                    return await endpoint(request)
                if fault.fault == "slow":
                    await asyncio.sleep(fault.seconds)
                if fault.fault == "gone" and lose is not None:
                    await lose(request)
                if fault.fault in {"slow", "gone"}:
                    return await endpoint(request)
                if fault.fault.endswith("_after"):
                    await endpoint(request)
                if fault.fault.startswith("timeout_"):
                    await asyncio.sleep(fault.seconds)
                    return _NoAnswer()
                return failure(int(fault.fault.removesuffix("_after")))

            return answer

        return decorate

    def routes(self) -> list[Route]:
        """The addresses by which faults are asked for."""
        return [
            Route("/faults", self._add, methods=["POST"]),
            Route("/faults", self._show, methods=["GET"]),
            Route("/faults", self._clear, methods=["DELETE"]),
        ]

    def _next(self, provider: str, operation: str) -> _Fault | None:
        for fault in self._queue:
            if (fault.provider, fault.operation) == (provider, operation):
                fault.times -= 1
                if not fault.times:
                    self._queue.remove(fault)
                return fault
        return None

    async def _add(self, request: Request) -> Response:
        try:
            fault = self._read(await json_of(request))
        except ValueError as error:
            return JSONResponse({"error": f"No fault: {error}"}, status_code=400)
        self._queue.append(fault)
        return JSONResponse(vars(fault), status_code=201)

    async def _show(self, _request: Request) -> Response:
        return JSONResponse({"faults": [vars(fault) for fault in self._queue]})

    async def _clear(self, _request: Request) -> Response:
        self._queue.clear()
        return Response(status_code=204)

    def _read(self, body: Any) -> _Fault:
        if not isinstance(body, dict) or body.keys() - _FIELDS:
            raise ValueError(f"send an object of {', '.join(sorted(_FIELDS))}.")
        place = (str(body.get("provider")), str(body.get("operation")))
        if place not in self._kinds:
            known = ", ".join(sorted(f"{provider} {name}" for provider, name in self._kinds))
            raise ValueError(f"provider and operation must be one of these: {known}.")
        kinds, kind = self._kinds[place], str(body.get("fault"))
        if kind not in kinds:
            raise ValueError(f"what can happen there is {', '.join(sorted(kinds))}.")
        times, seconds = body.get("times", 1), body.get("seconds", _SECONDS)
        if type(times) is not int or not 1 <= times <= _MOST_TIMES:
            raise ValueError(f"times must be a whole number from 1 to {_MOST_TIMES}.")
        if type(seconds) not in {int, float} or not 0 <= seconds <= _MOST_SECONDS:
            raise ValueError(f"seconds must be a number from 0 to {_MOST_SECONDS}.")
        if len(self._queue) >= _MOST_FAULTS:
            raise ValueError(f"{_MOST_FAULTS} are waiting already; DELETE /faults forgets them.")
        return _Fault(
            provider=place[0],
            operation=place[1],
            fault=kind,
            times=times,
            seconds=seconds,
        )
