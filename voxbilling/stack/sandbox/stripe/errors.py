"""What Stripe says when it does not do what it was asked."""

from typing import Any

from starlette.responses import JSONResponse, Response


class Refused(Exception):
    """An error answer. `more` is what it carries beside the usual.

    Stripe remembers no answer that is about parameters: the same idempotency key can be tried with
    better ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        more: dict[str, Any] | None = None,
        is_about_parameters: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_about_parameters = is_about_parameters
        named = {"type": kind, "message": message, "code": code, "param": param}
        self.error = {key: value for key, value in named.items() if value is not None}
        self.error |= more or {}


def missing(kind: str, id_: str, *, param: str = "id") -> Refused:
    """There is no such object: not found if the address names it, else a bad parameter."""
    return Refused(
        404 if param == "id" else 400,
        f"No such {kind.replace('.', ' ')}: '{id_}'",
        code="resource_missing",
        param=param,
    )


def failure(status: int) -> Response:
    """The answer of a status without a word about what was asked."""
    kinds = {
        401: Refused(401, "Invalid API Key provided."),
        429: Refused(429, "Request rate limit exceeded.", code="rate_limit"),
    }
    refused = kinds.get(status) or Refused(status, "An unknown error occurred.", kind="api_error")
    return JSONResponse({"error": refused.error}, status_code=status)
