"""Asking Twilio and Vapi over HTTP, and what can come of it.

A purchase has no idempotency key, so what matters about a failure is whether the provider can have
done what was asked. Nothing here is tried again by itself. Never called under a lock or in a
transaction.
"""

from collections.abc import Mapping
from typing import Any

import httpx

# Whoever has not accepted a connection by then is down, and was asked nothing.
CONNECT_TIMEOUT_SECONDS = 5.0
# Twilio takes some seconds for a purchase; one that takes longer is found out about later.
READ_TIMEOUT_SECONDS = 20.0
_LONGEST_TEXT = 300


class ProviderError(Exception):
    """A provider did not do what was asked, or nobody knows. The text holds no secret."""


class Refused(ProviderError):
    """The provider looked at it and did not do it; asking the same again would not help.

    `code` is the provider's own where it gives one, else the HTTP status.
    """

    def __init__(self, provider: str, status: int, code: int, text: str) -> None:
        super().__init__(f"{provider} refused ({status}, code {code}): {text}")
        self.status = status
        self.code = code


class NotProcessed(ProviderError):
    """The provider was not reached or has too much to do: it did nothing, and may do it later."""


class OutcomeUnknown(ProviderError):
    """The provider was asked, and did not say what it did. Ask what there is before anything."""


def send(
    provider: str,
    method: str,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> httpx.Response:
    """Send one request, once; returns a success. Raises Refused, NotProcessed, OutcomeUnknown."""
    try:
        response = httpx.request(
            method,
            url,
            params=params,
            data=form,
            json=body,
            headers=headers,
            auth=auth,
            timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
        raise NotProcessed(f"{provider} was not reached: {type(error).__name__}.") from None
    except httpx.HTTPError as error:
        raise OutcomeUnknown(f"{provider} did not answer: {type(error).__name__}.") from None
    status = response.status_code
    if response.is_success:
        return response
    if status == 429:
        raise NotProcessed(f"{provider} has too many requests.")
    if 400 <= status < 500 and status != 408:
        raise _refusal(provider, response)
    raise OutcomeUnknown(f"{provider} answered {status}.")


def _refusal(provider: str, response: httpx.Response) -> Refused:
    try:
        said = response.json()
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    code, text = said.get("code"), said.get("message")
    return Refused(
        provider,
        response.status_code,
        code if isinstance(code, int) else response.status_code,
        str(text)[:_LONGEST_TEXT] if text else "no reason given",
    )
