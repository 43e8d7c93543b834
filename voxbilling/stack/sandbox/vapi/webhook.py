"""Posting messages to voxbilling's webhook, and waiting for answers no longer than Vapi does."""

import asyncio
import json
from typing import Any

import httpx

from voxbilling.vapi_payloads import Message

# What Vapi waits by default; for an assistant-request a fixed time, end to end.
_TIMEOUT_SECONDS = 20.0
_ASSISTANT_REQUEST_SECONDS = 7.5
_AT_ONCE = 200


class Webhook:
    """Where messages go. At most 200 are on their way at once, the others wait their turn.

    `unanswered` counts them all.
    """

    def __init__(
        self, url: str, secret: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._headers = {"X-Vapi-Secret": secret, "Content-Type": "application/json"}
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self.unanswered = 0
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def post(self, message: Message) -> tuple[int | str, Any]:
        """Send a message once; the status of the answer, or the name of what failed, and its JSON.

        The JSON is None unless the answer is a success.
        """
        is_request = message["message"]["type"] == "assistant-request"
        seconds = _ASSISTANT_REQUEST_SECONDS if is_request else _TIMEOUT_SECONDS
        self.unanswered += 1
        try:
            async with self._turn, asyncio.timeout(seconds):
                response = await self._connected().post(self._url, content=json.dumps(message))
            return response.status_code, response.json() if response.is_success else None
        except (httpx.HTTPError, TimeoutError) as error:
            return type(error).__name__, None
        except ValueError:
            return response.status_code, None
        finally:
            self.unanswered -= 1

    def _connected(self) -> httpx.AsyncClient:
        # Made here and not in the constructor, so that it belongs to the loop that uses it.
        if self._client is None:
            self._client = httpx.AsyncClient(
                # voxbilling is on this machine, where no HTTP proxy leads to.
                trust_env=False,
                headers=self._headers,
                timeout=_TIMEOUT_SECONDS,
                # httpx looks at all kept connections for each request: slower than new ones.
                limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=0),
                transport=self._transport,
            )
        return self._client
