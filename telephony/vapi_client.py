"""Talking to Vapi. Never called under a lock or in a transaction."""

import httpx

# A control request is a few bytes to a live call; one that takes longer is better tried again.
CONTROL_TIMEOUT_SECONDS = 5.0


class VapiRequestFailed(Exception):
    """Vapi did not do what was asked. The text names no URL: a control URL is a secret."""


def end_call(control_url: str) -> None:
    """Ask Vapi to end a live call at once. Raises VapiRequestFailed."""
    try:
        response = httpx.post(
            control_url, json={"type": "end-call"}, timeout=CONTROL_TIMEOUT_SECONDS
        )
    # InvalidURL, which is no HTTPError, is for what httpx cannot parse; UnicodeError for a host
    # name that the resolver cannot encode.
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise VapiRequestFailed(
            f"The call's control address failed: {type(error).__name__}."
        ) from None
    if not response.is_success:
        raise VapiRequestFailed(f"The call's control address answered {response.status_code}.")
