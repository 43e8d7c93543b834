"""The control URLs of calls that only their messages know.

What a real control URL does to the call, these only remember, for tests and demos to read.
"""

import time
from collections import OrderedDict
from typing import Any, TypeGuard

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxbilling.stack.sandbox.bodies import json_of

_MOST_CALLS = 10_000
_MOST_MESSAGES_PER_CALL = 50
_LARGEST_BODY_BYTES = 100_000


class ControlMessages:
    """What each call's control URL was sent; the calls that were quiet longest are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()

    def add(self, call_id: str, message: dict[str, Any]) -> None:
        received = self._calls.setdefault(call_id, [])
        received.append({"received_at": time.time(), "message": message})
        del received[:-_MOST_MESSAGES_PER_CALL]
        self._calls.move_to_end(call_id)
        while len(self._calls) > _MOST_CALLS:
            self._calls.popitem(last=False)

    def of(self, call_id: str) -> list[dict[str, Any]]:
        return self._calls.get(call_id, [])


def routes() -> list[Route]:
    """Vapi's addresses, with a memory of their own."""
    messages = ControlMessages()

    async def control(request: Request) -> Response:
        """POST {"type": "end-call"} or {"type": "say", "content": "…"}; 400 for anything else."""
        size = len(await request.body())
        try:
            message = await json_of(request) if size <= _LARGEST_BODY_BYTES else None
        except ValueError:
            message = None
        if not is_control_message(message):
            return JSONResponse({"message": "not a control message"}, status_code=400)
        messages.add(request.path_params["call_id"], message)
        return JSONResponse({"status": "ok"})

    async def control_messages(request: Request) -> Response:
        """GET what the control URL received, oldest first; `received_at` is in epoch seconds."""
        return JSONResponse({"messages": messages.of(request.path_params["call_id"])})

    return [
        Route("/calls/{call_id}/control", control, methods=["POST"]),
        Route("/calls/{call_id}/control-messages", control_messages, methods=["GET"]),
    ]


def is_control_message(message: Any) -> TypeGuard[dict[str, Any]]:
    if not isinstance(message, dict):
        return False
    if message.get("type") == "end-call":
        return True
    return message.get("type") == "say" and isinstance(message.get("content"), str)
