"""How Vapi says no, and to whom."""

from datetime import datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxbilling.stack.sandbox.faults import Endpoint


def error(status: int, message: str | list[str]) -> Response:
    body = {"message": message, "error": HTTPStatus(status).phrase, "statusCode": status}
    return JSONResponse(body, status_code=status)


def failure(status: int) -> Response:
    """An answer that says no more than its status does."""
    return error(status, "Invalid Key." if status == 401 else HTTPStatus(status).phrase)


def moment_of(name: str, text: str) -> datetime:
    """A moment in a query. ValueError, in Vapi's words, for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{name} must be a valid ISO 8601 date string")
    return moment


def with_a_key(endpoint: Endpoint) -> Endpoint:
    """Answer those who show a bearer token, whichever."""

    async def answer(request: Request) -> Response:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return await endpoint(request) if scheme == "Bearer" and key else failure(401)

    return answer
