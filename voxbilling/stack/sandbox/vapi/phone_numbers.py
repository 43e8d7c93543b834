"""Vapi's phone numbers: importing, listing, reading and deleting them.

It knows no keys: any bearer token will do, and all see the same numbers. What is imported must have
been bought at the sandbox's Twilio, by the account that the import names.

Operations that faults can hit: import, list, get, release. `gone` means that somebody else deleted
the number at Vapi.
"""

import uuid
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxbilling.stack.sandbox.bodies import json_of
from voxbilling.stack.sandbox.faults import Endpoint, Faults, Losing
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.numbers import Numbers
from voxbilling.stack.sandbox.vapi.answers import error, failure, moment_of, with_a_key

_LONGEST_NAME = 40
_MOST_NUMBERS = 10_000
_LISTED = 100
_MOST_LISTED = 1_000
_BEGINNING = "1970-01-01T00:00:00Z"
_NEEDED = {"provider", "number", "twilioAccountSid", "twilioAuthToken"}
_KNOWN = _NEEDED | {"name", "server", "assistantId", "squadId", "workflowId", "fallbackDestination"}


def routes(sold: Numbers, faults: Faults, memory: Memory) -> list[Route]:
    """Vapi's addresses for phone numbers."""
    imported = memory.records("imported numbers")

    def forget(phone_number_id: str) -> dict[str, Any] | None:
        phone_number = imported.pop(phone_number_id, None)
        memory.keep()
        return phone_number

    async def import_(request: Request) -> Response:
        try:
            wanted = await json_of(request)
        except ValueError:
            wanted = None
        problems = _problems(wanted)
        if problems:
            return error(400, problems)
        account, number = wanted["twilioAccountSid"], wanted["number"]
        if number not in {one.number for one in sold.of(account)}:
            return error(400, f"Number {number} Not Found on Twilio Account {account}.")
        for one in imported.values():
            if (one["twilioAccountSid"], one["number"]) == (account, number):
                return error(
                    400,
                    f"Existing Phone Number {one['id']} Has Identical `twilioAccountSid` "
                    f"{account} and `number` {number}.",
                )
        if len(imported) >= _MOST_NUMBERS:
            return error(400, f"This sandbox remembers {_MOST_NUMBERS} numbers at most.")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        phone_number = {
            **wanted,
            "id": str(uuid.uuid4()),
            "status": "active",
            "createdAt": now,
            "updatedAt": now,
        }
        imported[phone_number["id"]] = phone_number
        memory.keep()
        return JSONResponse(phone_number, status_code=201)

    async def show(request: Request) -> Response:
        limit = request.query_params.get("limit", str(_LISTED))
        if not limit.isdecimal() or int(limit) > _MOST_LISTED:
            return error(400, [f"limit must not be greater than {_MOST_LISTED}"])
        try:
            since = moment_of("createdAtGe", request.query_params.get("createdAtGe", _BEGINNING))
        except ValueError as problem:
            return error(400, [str(problem)])
        newest_first = reversed(imported.values())
        found = (one for one in newest_first if datetime.fromisoformat(one["createdAt"]) >= since)
        return JSONResponse(list(islice(found, int(limit))))

    async def get(request: Request) -> Response:
        phone_number = imported.get(request.path_params["id"])
        return _not_found(request) if phone_number is None else JSONResponse(phone_number)

    async def release(request: Request) -> Response:
        phone_number = forget(request.path_params["id"])
        return _not_found(request) if phone_number is None else JSONResponse(phone_number)

    async def release_already(request: Request) -> None:
        forget(request.path_params["id"])

    def route(
        method: str, path: str, name: str, endpoint: Endpoint, lose: Losing | None = None
    ) -> Route:
        can_fail = faults.can_hit("vapi", name, failure=failure, lose=lose)
        return Route(f"/phone-number{path}", can_fail(with_a_key(endpoint)), methods=[method])

    return [
        route("POST", "", "import", import_),
        route("GET", "", "list", show),
        route("GET", "/{id}", "get", get, release_already),
        route("DELETE", "/{id}", "release", release, release_already),
    ]


def _problems(wanted: Any) -> list[str]:
    """What Vapi would say against an import; nothing if it is complete."""
    if not isinstance(wanted, dict):
        return ["body must be an object"]
    problems = [f"property {name} should not exist" for name in sorted(wanted.keys() - _KNOWN)]
    problems += [
        f"{name} must be a string"
        for name in sorted(_NEEDED)
        if not isinstance(wanted.get(name), str) or not wanted[name]
    ]
    if wanted.get("provider") != "twilio":
        problems.append("provider must be twilio: this sandbox knows no other")
    name = wanted.get("name", "")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        problems.append(f"name must be shorter than or equal to {_LONGEST_NAME} characters")
    return problems


def _not_found(request: Request) -> Response:
    return error(404, f"Couldn't Find Phone Number. {request.path_params['id']} Does Not Exist.")
