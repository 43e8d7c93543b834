"""Phone numbers at Vapi. Never called under a lock or in a transaction."""

from datetime import datetime
from typing import Any

from django.conf import settings

from telephony import providers

# The most that Vapi lists at once.
_LONGEST_LIST = 1000


def import_number(*, number: str, key: str) -> str:
    """Let Vapi answer a number of our Twilio account, under our key; returns Vapi's id of it.

    Without an assistant, so that Vapi asks us about every call; without a fallback, so that no
    call goes through unbilled. Vapi refuses a number that it has. Raises ProviderError.
    """
    return _id(
        _send(
            "POST",
            "/phone-number",
            body={
                "provider": "twilio",
                "number": number,
                "twilioAccountSid": settings.TWILIO_ACCOUNT_SID,
                "twilioAuthToken": settings.TWILIO_AUTH_TOKEN,
                "name": key,
            },
        )
    )


def find_numbers_by_key(key: str, *, since: datetime) -> list[str]:
    """Vapi's ids of what was imported under our key; `since` is before it can have been.

    Raises ProviderError.
    """
    listed = _send(
        "GET",
        "/phone-number",
        params={"limit": _LONGEST_LIST, "createdAtGe": since.isoformat()},
    )
    if not isinstance(listed, list) or len(listed) >= _LONGEST_LIST:
        raise providers.OutcomeUnknown("Vapi's list of numbers could not be read in whole.")
    return [_id(each) for each in listed if isinstance(each, dict) and each.get("name") == key]


def release_number(vapi_phone_number_id: str) -> None:
    """Make Vapi forget a number; one that is gone already is as good. Raises ProviderError."""
    try:
        _send("DELETE", f"/phone-number/{vapi_phone_number_id}")
    except providers.Refused as refusal:
        if refusal.status != 404:
            raise


def _send(method: str, path: str, **more: Any) -> Any:
    response = providers.send(
        "Vapi",
        method,
        f"{settings.VAPI_API_URL}{path}",
        headers={"Authorization": f"Bearer {settings.VAPI_API_KEY}"},
        **more,
    )
    try:
        return response.json()
    except ValueError:
        return None


def _id(answer: Any) -> str:
    found = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(found, str) or not found:
        raise providers.OutcomeUnknown("Vapi's answer names no phone number.")
    return found
