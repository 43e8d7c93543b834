"""Posts messages to a running voxbilling as Vapi does, and measures how long answers take."""

import asyncio
import json
import time
from collections import defaultdict
from typing import Any

import httpx

from voxbilling.vapi_payloads import Message

# Vapi itself gives up after 7.5 s; a simulation on a busy machine wants to know how late it was.
_TIMEOUT_SECONDS = 30
_SANDBOX_WAIT_SECONDS = 30


class SimulatedVapi:
    """A client of one voxbilling. `latencies_ms` holds milliseconds by kind of webhook.

    Raises httpx.HTTPError if voxbilling cannot be reached or does not answer 200, ValueError if the
    answer is no JSON object.
    """

    def __init__(self, *, base_url: str, secret: str, sandbox_url: str) -> None:
        self.sandbox_url = sandbox_url
        self.latencies_ms: defaultdict[str, list[float]] = defaultdict(list)
        # Both are on this machine, where no HTTP proxy leads to.
        self._voxbilling = httpx.AsyncClient(
            trust_env=False,
            base_url=base_url,
            headers={"X-Vapi-Secret": secret, "Content-Type": "application/json"},
            timeout=_TIMEOUT_SECONDS,
        )
        self._sandbox = httpx.AsyncClient(
            trust_env=False, base_url=sandbox_url, timeout=_TIMEOUT_SECONDS
        )

    async def __aenter__(self) -> "SimulatedVapi":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._voxbilling.aclose()
        await self._sandbox.aclose()

    async def send(self, message: Message, *, copies: int = 1) -> dict[str, Any]:
        """Send a server message, also as several copies at once; the answer to the first."""
        kind = message["message"]["type"]
        body = json.dumps(message)
        answers = await asyncio.gather(
            *(self._post("/api/vapi/webhook", kind, body) for _ in range(copies))
        )
        return answers[0]

    async def ask_status(self, message: Message) -> dict[str, Any]:
        return await self._post(
            "/api/vapi/webhook/status-check", "status-check", json.dumps(message)
        )

    async def ask_health(self) -> dict[str, Any]:
        return _object(await self._voxbilling.get("/api/vapi/webhook/health"))

    async def was_told_to_end(self, call_id: str) -> bool:
        """Whether the call's control URL was told to end it, waiting for that a while."""
        give_up_at = time.monotonic() + _SANDBOX_WAIT_SECONDS
        while time.monotonic() < give_up_at:
            answer = await self._sandbox.get(f"/vapi/calls/{call_id}/control-messages")
            received = answer.raise_for_status().json()["messages"]
            if any(entry["message"]["type"] == "end-call" for entry in received):
                return True
            await asyncio.sleep(0.1)
        return False

    async def _post(self, path: str, kind: str, body: str) -> dict[str, Any]:
        started = time.perf_counter()
        response = await self._voxbilling.post(path, content=body)
        self.latencies_ms[kind].append((time.perf_counter() - started) * 1000)
        return _object(response)


def _object(response: httpx.Response) -> dict[str, Any]:
    answer = response.raise_for_status().json()
    if not isinstance(answer, dict):
        raise ValueError(f"{answer!r} is no JSON object")
    return answer
