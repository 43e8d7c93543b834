"""Twilio, as far as voxbilling talks to it: searching, buying, listing and releasing numbers.

It knows no credentials: any account sid and any token will do, as long as the sid is the one that
the address names. In Germany a number needs an address, in France a bundle. As at Twilio,
`AreaCode` means something in the United States and Canada only; elsewhere `Contains` narrows a
search.

Unlike Twilio, it sells British numbers without a bundle. And unlike Twilio, which lets an account
buy its own number again and only changes its name, it refuses every purchase of a number that is
sold.

Operations that faults can hit: search, buy, list, release. For buy, `gone` means that somebody
else bought the number first; for release, that it was released already.
"""

import base64
import re
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxbilling.stack.sandbox.faults import Endpoint, Faults, Losing
from voxbilling.stack.sandbox.numbers import (
    RANGES,
    SOMEBODY_ELSE,
    Numbers,
    Range,
    SoldNumber,
    pattern,
)

_PAGE_SIZE = 50
_LARGEST_PAGE = 1_000
_LONGEST_NAME = 64
_FAULTS = {401: (20003, "Authenticate"), 429: (20429, "Too Many Requests")}


class _Refused(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        self.answer = _error(status, code, message)


def routes(numbers: Numbers, faults: Faults) -> list[Route]:
    """Twilio's addresses, selling these numbers."""

    async def search(request: Request) -> Response:
        country, kind = request.path_params["country"], request.path_params["kind"]
        query = request.query_params
        if (country, kind) not in {(place.country, place.kind) for place in RANGES}:
            raise _not_found(request)
        area_code = query.get("AreaCode") if country in {"US", "CA"} else None
        contains = _pattern(query.get("Contains", "%"))
        voice_only = query.get("VoiceEnabled") == "true"
        found = [
            _available(number, place)
            for number, place in numbers.unsold(country, kind)
            if area_code in {None, place.area_code}
            and contains.search(number)
            and (place.speaks(number) or not voice_only)
        ]
        size = _whole_number(query, "PageSize", _PAGE_SIZE, _LARGEST_PAGE)
        return JSONResponse({"available_phone_numbers": found[:size], "uri": _path_of(request)})

    async def buy(request: Request) -> Response:
        form = await _form(request)
        number, name = form.get("PhoneNumber", ""), form.get("FriendlyName", "")
        if not re.fullmatch(r"\+[1-9]\d{6,14}", number):
            raise _Refused(400, 21421, f"{number} is not a valid phone number")
        if len(name) > _LONGEST_NAME:
            raise _Refused(400, 20001, f"FriendlyName is longer than {_LONGEST_NAME} characters")
        place = numbers.place_of_unsold(number)
        if place is None:
            raise _Refused(400, 21422, f"{number} is not available")
        if place.address_requirements != "none" and "AddressSid" not in form:
            raise _Refused(400, 21631, f"{number} requires an address, and AddressSid was empty")
        if place.needs_bundle and "BundleSid" not in form:
            raise _Refused(400, 21649, f"{number} requires a bundle, and BundleSid was empty")
        sold = numbers.sell(
            number,
            request.path_params["account"],
            friendly_name=name or number,
            address_sid=form.get("AddressSid"),
            bundle_sid=form.get("BundleSid"),
        )
        return JSONResponse(_incoming(sold), status_code=201)

    async def sell_to_somebody_else(request: Request) -> None:
        number = (await _form(request)).get("PhoneNumber", "")
        if numbers.place_of_unsold(number):
            numbers.sell(number, SOMEBODY_ELSE, friendly_name=number)

    async def show(request: Request) -> Response:
        query = request.query_params
        name, like = query.get("FriendlyName"), _pattern(query.get("PhoneNumber", "%"))
        found = [
            _incoming(sold)
            for sold in numbers.of(request.path_params["account"])
            if name in {None, sold.friendly_name} and like.search(sold.number)
        ]
        size = max(1, _whole_number(query, "PageSize", _PAGE_SIZE, _LARGEST_PAGE))
        page = _whole_number(query, "Page", 0, len(found))
        first, after = page * size, (page + 1) * size

        def uri_of(page: int) -> str:
            return f"{_path_of(request)}?{urlencode({**query, 'PageSize': size, 'Page': page})}"

        return JSONResponse(
            {
                "incoming_phone_numbers": found[first:after],
                "page": page,
                "page_size": size,
                "start": first,
                "end": min(after, len(found)) - 1,
                "uri": uri_of(page),
                "first_page_uri": uri_of(0),
                "previous_page_uri": uri_of(page - 1) if page else None,
                "next_page_uri": uri_of(page + 1) if after < len(found) else None,
            }
        )

    async def release(request: Request) -> Response:
        if not numbers.take_back(request.path_params["account"], request.path_params["sid"]):
            raise _not_found(request)
        return Response(status_code=204)

    async def release_already(request: Request) -> None:
        numbers.take_back(request.path_params["account"], request.path_params["sid"])

    def route(
        method: str, path: str, name: str, endpoint: Endpoint, lose: Losing | None = None
    ) -> Route:
        can_fail = faults.can_hit("twilio", name, failure=_failure, lose=lose)
        return Route(
            f"{_path('{account}')}/{path}", can_fail(_answering(endpoint)), methods=[method]
        )

    return [
        route("GET", "AvailablePhoneNumbers/{country}/{kind}.json", "search", search),
        route("POST", "IncomingPhoneNumbers.json", "buy", buy, lose=sell_to_somebody_else),
        route("GET", "IncomingPhoneNumbers.json", "list", show),
        route("DELETE", "IncomingPhoneNumbers/{sid}.json", "release", release, release_already),
    ]


def _answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint, for those with credentials, with Twilio's words for what it refuses."""

    async def answer(request: Request) -> Response:
        if not _has_credentials(request):
            return _failure(401)
        try:
            return await endpoint(request)
        except _Refused as refused:
            return refused.answer

    return answer


def _has_credentials(request: Request) -> bool:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        sid, _, token = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return False
    account = request.path_params["account"]
    return scheme == "Basic" and sid == account and sid.startswith("AC") and bool(token)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return pattern(text)
    except ValueError:
        raise _Refused(400, 20001, f"{text} is no pattern to look for") from None


def _whole_number(query: QueryParams, name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise _Refused(400, 20001, f"{name} must be a whole number")
    return min(int(text), most)


def _available(number: str, place: Range) -> dict[str, Any]:
    return {
        "friendly_name": number,
        "phone_number": number,
        "locality": place.locality or None,
        "region": None,
        "iso_country": place.country,
        "address_requirements": place.address_requirements,
        "beta": False,
        "capabilities": _capabilities(number, place),
    }


def _incoming(sold: SoldNumber) -> dict[str, Any]:
    return {
        "sid": sold.sid,
        "account_sid": sold.account_sid,
        "friendly_name": sold.friendly_name,
        "phone_number": sold.number,
        "address_sid": sold.address_sid,
        "bundle_sid": sold.bundle_sid,
        "address_requirements": sold.place.address_requirements,
        "capabilities": _capabilities(sold.number, sold.place),
        "date_created": format_datetime(datetime.fromisoformat(sold.bought_at)),
        "date_updated": format_datetime(datetime.fromisoformat(sold.bought_at)),
        "origin": "twilio",
        "status": "in-use",
        "beta": False,
        "api_version": "2010-04-01",
        "uri": f"{_path(sold.account_sid)}/IncomingPhoneNumbers/{sold.sid}.json",
    }


def _capabilities(number: str, place: Range) -> dict[str, bool]:
    return {"voice": place.speaks(number), "sms": True, "mms": False, "fax": False}


def _failure(status: int) -> Response:
    code, message = _FAULTS.get(status, (20500, "Internal Server Error"))
    return _error(status, code, message)


def _error(status: int, code: int, message: str) -> Response:
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return JSONResponse(body, status_code=status)


def _not_found(request: Request) -> _Refused:
    return _Refused(404, 20404, f"The requested resource {_path_of(request)} was not found")


def _path(account_sid: str) -> str:
    return f"/2010-04-01/Accounts/{account_sid}"


def _path_of(request: Request) -> str:
    """The path as Twilio's root has it, wherever the sandbox is mounted."""
    return request.url.path.removeprefix(request.scope.get("root_path", ""))
