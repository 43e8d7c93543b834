"""Twilio through its own SDK: finding, buying and giving back phone numbers.

Raises what `telephony.providers` has. Nothing is tried again by itself, and our own key stands in
each number's FriendlyName, so that Twilio can be asked what became of a purchase.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from twilio.base.exceptions import TwilioException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from telephony import providers
from telephony.numbering import beginning_of_numbers

# The SDK's names for the kinds of numbers.
_KINDS = {"local": "local", "toll_free": "toll_free", "mobile": "mobile"}
# Their area codes are the only ones that Twilio knows as such.
_COUNTRIES_WITH_AREA_CODES = {"US", "CA"}
_MOST_OF_ONE_KEY = 20

# Twilio's codes for what a customer can act on, or another number would answer.
NUMBER_TAKEN = 21422
NUMBER_INVALID = 21421
NONE_IN_AREA = 21452
ADDRESS_REQUIRED = {21631, 21613}
BUNDLE_REQUIRED = 21649
GONE = 20404
ANOTHER_NUMBER_WOULD_DO = {NUMBER_TAKEN, NUMBER_INVALID}


@dataclass(frozen=True, kw_only=True)
class AvailableNumber:
    """A number that Twilio would sell. `needs_address`: only to who has registered one with it."""

    number: str
    locality: str
    region: str
    needs_address: bool


@dataclass(frozen=True, kw_only=True)
class OwnedNumber:
    """A number of our account, with Twilio's id of it."""

    sid: str
    number: str


class _Http(HttpClient):  # type: ignore[misc]
    """Lets the SDK talk as everything here does: one try, time limits, and nothing logged."""

    def __init__(self) -> None:
        super().__init__(logger=None, is_async=False)

    def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ours is the same for all
        allow_redirects: bool = False,  # noqa: ARG002, FBT001, FBT002 - never
    ) -> Response:
        response = providers.send(
            "Twilio", method, uri, params=params, form=data, headers=headers, auth=auth
        )
        return Response(response.status_code, response.text, response.headers)


def search_numbers(
    *, country: str, number_type: str, area_code: str, limit: int
) -> list[AvailableNumber]:
    """Numbers for voice calls that are for sale; none where Twilio sells none of the kind.

    Raises AreaCodeNotSupported, ProviderError.
    """
    wanted: dict[str, Any] = {}
    beginning = "+"
    if area_code:
        beginning = beginning_of_numbers(country, area_code)
        if country in _COUNTRIES_WITH_AREA_CODES:
            wanted["area_code"] = area_code
        else:
            # Finds the digits anywhere in the number, so what it finds is looked at again.
            wanted["contains"] = beginning.removeprefix("+")
    try:
        with _answers_that_can_be_read():
            kind = getattr(_client().available_phone_numbers(country), _KINDS[number_type])
            found = kind.list(voice_enabled=True, limit=limit, page_size=limit, **wanted)
            return [
                AvailableNumber(
                    number=each.phone_number,
                    locality=each.locality or "",
                    region=each.region or "",
                    needs_address=(each.address_requirements or "none") != "none",
                )
                for each in found
                if each.phone_number.startswith(beginning)
            ]
    except providers.Refused as refusal:
        if refusal.code in {GONE, NONE_IN_AREA} or refusal.status == 404:
            return []
        raise


def buy_number(*, number: str, key: str, kind: str) -> OwnedNumber:
    """Buy a number under our key. `kind`, like GB-local, chooses our bundle and address."""
    with _answers_that_can_be_read():
        bought = _client().incoming_phone_numbers.create(
            phone_number=number,
            friendly_name=key,
            **_chosen("bundle_sid", settings.TWILIO_BUNDLE_SIDS.get(kind)),
            **_chosen("address_sid", settings.TWILIO_ADDRESS_SIDS.get(kind)),
        )
        return _owned(bought)


def find_numbers_by_key(key: str) -> list[OwnedNumber]:
    """What our account has under this key."""
    with _answers_that_can_be_read():
        found = _client().incoming_phone_numbers.list(friendly_name=key, limit=_MOST_OF_ONE_KEY)
        return [_owned(each) for each in found if each.friendly_name == key]


def release_number(sid: str) -> None:
    """Give a number back; one that is gone already is as good."""
    try:
        with _answers_that_can_be_read():
            _client().incoming_phone_numbers(sid).delete()
    except providers.Refused as refusal:
        if refusal.status != 404:
            raise


def _client() -> Client:
    client = Client(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN, http_client=_Http())
    client.api.base_url = settings.TWILIO_API_URL
    return client


def _owned(each: Any) -> OwnedNumber:
    if not (each.sid and each.phone_number):
        raise ValueError("a number without its id")
    return OwnedNumber(sid=each.sid, number=each.phone_number)


def _chosen(name: str, value: str | None) -> dict[str, str]:
    return {name: value} if value else {}


@contextmanager
def _answers_that_can_be_read() -> Iterator[None]:
    """A success that cannot be read says as little as no answer."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, TwilioException) as error:
        raise providers.OutcomeUnknown(
            f"Twilio's answer could not be read: {type(error).__name__}."
        ) from None
