"""Vapi's addresses for calls, and the sandbox's own.

    POST /call                   start an outbound call, or a web call with "type": "webCall"
    GET /call, GET /call/{id}    calls as Vapi describes them
    POST /call/{id}/control      the control URL of a live call; 404 when it is over
    POST /sandbox/inbound-call   somebody calls {"phoneNumberId", "phoneNumber": {"number"}}
    GET /sandbox/calls           what happened in truth, a page of `limit` after number `after`,
                                 and how many messages voxbilling has still to answer

Either way of starting a call takes a script as `sandbox`, see script.py. Vapi's own addresses
want a bearer token, whichever. Operations that faults can hit: create-call, get-call, list-calls.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxbilling import vapi_payloads as payloads
from voxbilling.stack.sandbox.bodies import json_of
from voxbilling.stack.sandbox.faults import Endpoint, Faults
from voxbilling.stack.sandbox.vapi import script
from voxbilling.stack.sandbox.vapi.answers import error, failure, moment_of, with_a_key
from voxbilling.stack.sandbox.vapi.calls import (
    MAX_DURATION_SECONDS,
    MIN_DURATION_SECONDS,
    Call,
    Calls,
    TooManyCalls,
)
from voxbilling.stack.sandbox.vapi.control import is_control_message

Order = Callable[[datetime, datetime], bool]

_LISTED = 100
_MOST_LISTED = 1_000
_ORG_ID = "5a5d0a3e-0000-4000-8000-000000000001"
_ORDERS: dict[str, Order] = {
    "Gt": datetime.__gt__,
    "Lt": datetime.__lt__,
    "Ge": datetime.__ge__,
    "Le": datetime.__le__,
}
_MOMENTS = {"createdAt": "created_at", "updatedAt": "updated_at"}
_IDS = {"id": "id", "assistantId": "answering_assistant_id", "phoneNumberId": "phone_number_id"}


def routes(calls: Calls, faults: Faults) -> list[Route]:
    async def create(request: Request) -> Response:
        body = await _object(request)
        call_type = body.get("type", "outboundPhoneCall")
        if call_type not in {"outboundPhoneCall", "webCall"}:
            raise ValueError("type must be outboundPhoneCall or webCall.")
        needed = {"assistantId", "phoneNumberId"} if call_type != "webCall" else {"assistantId"}
        if any(not isinstance(body.get(name), str) or not body[name] for name in needed):
            raise ValueError(f"{', '.join(sorted(needed))} must be given, as texts.")
        if call_type != "webCall" and not _text_at(body, "customer", "number"):
            raise ValueError("customer.number must be given, as a text.")
        return start(
            call_type=call_type,
            script=script.read(body.get("sandbox", {})),
            assistant_id=body["assistantId"],
            phone_number_id=body.get("phoneNumberId"),
            phone_number=_text_at(body, "phoneNumber", "number"),
            max_duration_seconds=_cap_seconds(body),
        )

    async def create_inbound(request: Request) -> Response:
        body = await _object(request)
        phone_number_id = body.get("phoneNumberId")
        if not isinstance(phone_number_id, str) or not phone_number_id:
            raise ValueError("phoneNumberId must be given, as a text.")
        return start(
            call_type="inboundPhoneCall",
            script=script.read(body.get("sandbox", {})),
            phone_number_id=phone_number_id,
            phone_number=_text_at(body, "phoneNumber", "number"),
        )

    def start(**wanted: Any) -> Response:
        try:
            return JSONResponse(_as_vapi(calls.start(**wanted)), status_code=201)
        except TooManyCalls:
            return failure(429)

    async def show(request: Request) -> Response:
        call = calls.find(request.path_params["id"])
        if call is None:
            return error(404, "Call Not Found.")
        call.lookups += 1
        if call.lookups <= call.script.lookup_failures:
            return failure(503)
        return JSONResponse(_as_vapi(call))

    async def show_many(request: Request) -> Response:
        limit = _number(request, "limit", _LISTED, _MOST_LISTED)
        found = filter(_filter(request.query_params), calls.newest_first())
        return JSONResponse([_as_vapi(call) for call in islice(found, limit)])

    async def control(request: Request) -> Response:
        call = calls.find(request.path_params["id"])
        if call is None:
            return error(404, "Call Not Found.")
        message = await _object(request)
        if not is_control_message(message):
            raise ValueError("not a control message")
        status = await calls.control(call, message)
        return JSONResponse({"status": "ok"}) if status == HTTPStatus.OK else failure(status)

    async def show_truths(request: Request) -> Response:
        after = _number(request, "after", 0, 10**9)
        limit = _number(request, "limit", _MOST_LISTED, _MOST_LISTED)
        later = (call for call in calls.oldest_first() if call.number > after)
        truths = [_truth(call) for call in islice(later, limit)]
        return JSONResponse({"calls": truths, "unansweredMessages": calls.unanswered_messages})

    def of_vapi(name: str, endpoint: Endpoint) -> Endpoint:
        return faults.can_hit("vapi", name, failure=failure)(with_a_key(_understood(endpoint)))

    return [
        Route("/call", of_vapi("create-call", create), methods=["POST"]),
        Route("/call", of_vapi("list-calls", show_many), methods=["GET"]),
        Route("/call/{id}", of_vapi("get-call", show), methods=["GET"]),
        Route("/call/{id}/control", _understood(control), methods=["POST"]),
        Route("/sandbox/inbound-call", _understood(create_inbound), methods=["POST"]),
        Route("/sandbox/calls", _understood(show_truths), methods=["GET"]),
    ]


def _understood(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose ValueErrors are said to the client."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ValueError as problem:
            return error(400, str(problem))

    return answer


def _as_vapi(call: Call) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": call.id,
        "orgId": _ORG_ID,
        "type": call.call_type,
        "status": call.status,
        "createdAt": payloads.iso(call.created_at),
        "updatedAt": payloads.iso(call.updated_at),
        "assistantId": call.answering_assistant_id,
    }
    if call.squad_id is not None:
        shown["squadId"] = call.squad_id
    if call.phone_number_id is not None:
        shown["phoneNumberId"] = call.phone_number_id
        shown["customer"] = payloads.CUSTOMER
    if call.phone_number is not None:
        shown["phoneNumber"] = {"number": call.phone_number}
    if call.started_at is not None:
        shown["startedAt"] = payloads.iso(call.started_at)
    if call.ended_at is None:
        return shown | {"monitor": {"controlUrl": call.control_url}}
    return shown | {
        "endedAt": payloads.iso(call.ended_at),
        "endedReason": call.ended_reason,
        "cost": payloads.cost_usd(call.started_at, call.ended_at),
    }


def _truth(call: Call) -> dict[str, Any]:
    """What voxbilling has to find out; `isDone` when nothing more will be sent."""
    moments = {
        "startedAt": call.started_at,
        "endedAt": call.ended_at,
        "endAcceptedAt": call.end_accepted_at,
    }
    return {
        "number": call.number,
        "id": call.id,
        "type": call.call_type,
        "isDone": call.pending == 0,
        # Vapi's dates have milliseconds: what begins and ends in the same one did not connect.
        "connected": call.started_at is not None and call.started_at != call.ended_at,
        "seconds": call.seconds,
        "endedReason": call.ended_reason,
        "maxDurationSeconds": call.max_duration_seconds,
        "controlRequests": call.control_requests,
        "messages": call.sent,
        **{name: moment and payloads.iso(moment) for name, moment in moments.items()},
    }


def _filter(wanted: Mapping[str, str]) -> Callable[[Call], bool]:
    """Whether a call is one that the query asks for. ValueError for a query that Vapi refuses."""
    ids: dict[str, str] = {}
    moments: list[tuple[str, Order, datetime]] = []
    for name, text in wanted.items():
        moment, order = _MOMENTS.get(name[:-2]), _ORDERS.get(name[-2:])
        if name in _IDS:
            ids[_IDS[name]] = text
        elif moment and order:
            moments.append((moment, order, moment_of(name, text)))
        elif name != "limit":
            raise ValueError(f"property {name} should not exist")
    return lambda call: (
        all(getattr(call, name) == text for name, text in ids.items())
        and all(order(getattr(call, name), bound) for name, order, bound in moments)
    )


def _number(request: Request, name: str, default: int, maximum: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) > maximum:
        raise ValueError(f"{name} must not be greater than {maximum}")
    return int(text)


def _cap_seconds(body: dict[str, Any]) -> int | None:
    """The cap that whoever starts an outbound call gives it, in seconds."""
    overrides = body.get("assistantOverrides", {})
    cap = overrides.get("maxDurationSeconds") if isinstance(overrides, dict) else None
    if cap is None:
        return None
    if type(cap) is not int or not MIN_DURATION_SECONDS <= cap <= MAX_DURATION_SECONDS:
        raise ValueError(
            f"maxDurationSeconds must be from {MIN_DURATION_SECONDS} to {MAX_DURATION_SECONDS}"
        )
    return cap


def _text_at(body: dict[str, Any], name: str, inner: str) -> str | None:
    value = body.get(name)
    text = value.get(inner) if isinstance(value, dict) else None
    return text if isinstance(text, str) and text else None


async def _object(request: Request) -> dict[str, Any]:
    body = await json_of(request)
    if not isinstance(body, dict):
        raise ValueError("body must be an object")
    return body
