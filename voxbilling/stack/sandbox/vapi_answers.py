"""How Vapi says no, and to whom."""

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


def with_a_key(endpoint: Endpoint) -> Endpoint:
    """Answer those who show a bearer token, whichever."""

    async def answer(request: Request) -> Response:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return await endpoint(request) if scheme == "Bearer" and key else failure(401)

    return answer
