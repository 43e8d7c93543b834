"""How refusals are answered: a body with `error`, a sentence, `code`, and figures where useful."""

import math
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

logger = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5


class Problem(Exception):
    """A refusal with its HTTP status, its code for programs, its sentence for people, its figures.

    `retry_after_seconds` becomes the header.
    """

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        retry_after_seconds: int | None = None,
        **figures: Any,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.retry_after_seconds = retry_after_seconds
        self.figures = figures


def answer(error: Exception, _context: dict[str, Any]) -> Response | None:
    """The response to what a view raised; None for what is no refusal but a fault of ours."""
    problem = _problem(error)
    if problem is None:
        return None
    headers = {}
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(problem.retry_after_seconds)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": problem.sentence, "code": problem.code, **problem.figures}
    return Response(body, status=problem.status, headers=headers)


def _problem(error: Exception) -> Problem | None:
    match error:
        case Problem():
            return error
        case exceptions.ValidationError():
            fields = error.detail if isinstance(error.detail, dict) else {"body": error.detail}
            return Problem(400, "bad_input", _sentence(fields), fields=fields)
        case exceptions.ParseError():
            return Problem(400, "bad_input", str(error.detail))
        case exceptions.NotAuthenticated():
            return Problem(
                401, "not_authenticated", "Send a token: Authorization: Bearer <access token>."
            )
        case exceptions.AuthenticationFailed():
            return Problem(
                401,
                "not_authenticated",
                "The token is not valid or has expired: get a new one from /api/auth/token/.",
            )
        case exceptions.PermissionDenied() | PermissionDenied():
            return Problem(403, "forbidden", "You may not do this.")
        case exceptions.NotFound() | Http404():
            return Problem(404, "not_found", "There is nothing here by this name.")
        case exceptions.MethodNotAllowed():
            return Problem(405, "method_not_allowed", str(error.detail))
        case exceptions.NotAcceptable():
            return Problem(406, "not_acceptable", "Answers are JSON: accept application/json.")
        case RequestDataTooBig():
            return Problem(413, "too_large", "The body is too large.")
        case exceptions.Throttled():
            wait = max(1, math.ceil(getattr(error, "wait", None) or 1))
            sentence = f"Too many requests: try again in {wait} seconds."
            return Problem(429, "too_many_requests", sentence, retry_after_seconds=wait)
        # Other errors of the database are faults of ours, and no reason to send it again.
        case OperationalError() | InterfaceError():
            logger.exception("database_unavailable")
            return Problem(
                503,
                "unavailable",
                "The database is not available; send this again.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
    return None


def _sentence(fields: dict[str, Any]) -> str:
    """One sentence for the first field that is wrong; `fields` has them all."""
    name, messages = next(iter(fields.items()))
    while isinstance(messages, (list, dict)) and messages:
        messages = next(iter(messages.values())) if isinstance(messages, dict) else messages[0]
    return f"{name}: {messages}"
