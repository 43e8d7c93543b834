"""How Stripe answers: to whom, with which words, and once for each idempotency key.

A key is remembered with what it was answered, errors included, but for those about parameters. The
same key with the same parameters gets that answer again, marked `Idempotent-Replayed`; with others
it is refused, and so it is while the first request is at work.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxbilling.stack.sandbox.faults import Endpoint
from voxbilling.stack.sandbox.stripe.errors import Refused, failure
from voxbilling.stack.sandbox.stripe.forms import Params
from voxbilling.stack.sandbox.stripe.objects import Object, Objects

_LONGEST_KEY = 255
Work = Callable[[Request, Params], Awaitable[Object]]


class Desk:
    """Takes requests in, and hands out answers."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._at_work: set[str] = set()

    def answering(self, work: Work, fields: Iterable[str]) -> Endpoint:
        """An endpoint that does this work, knowing these fields."""

        async def answer(request: Request) -> Response:
            scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not secret.startswith(("sk_test_", "rk_test_")):
                return failure(401)
            posted = request.method == "POST"
            sent = (await request.body()).decode(errors="replace") if posted else request.url.query

            async def do() -> Object:
                params = Params.of(sent)
                params.only(fields)
                return await work(request, params)

            key = request.headers.get("Idempotency-Key", "")
            if not (posted and key):
                return _response(await _answer_of(do))
            return await self._once(key, f"{request.url.path} {sorted(parse_qsl(sent))}", do)

        return answer

    async def _once(self, key: str, request: str, do: Callable[[], Awaitable[Object]]) -> Response:
        fingerprint = hashlib.sha256(request.encode()).hexdigest()
        if len(key) > _LONGEST_KEY:
            return _refusal(400, f"Idempotency keys have at most {_LONGEST_KEY} characters.", None)
        if key in self._at_work:
            return _refusal(
                409,
                "There is currently another in-progress request using this idempotency key: it "
                "has not finished.",
                "idempotency_key_in_use",
            )
        before = self._objects.answer_under(key)
        if before is None:
            self._at_work.add(key)
            try:
                answer = await _answer_of(do)
            finally:
                self._at_work.discard(key)
            if not answer.pop("is_about_parameters"):
                self._objects.keep_answer(key, {**answer, "fingerprint": fingerprint})
            return _response(answer)
        if before["fingerprint"] != fingerprint:
            return _refusal(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were "
                "first used with. Try using a key other than this if you meant to execute a "
                "different request.",
                None,
            )
        return _response(before, {"Idempotent-Replayed": "true"})


async def _answer_of(do: Callable[[], Awaitable[Object]]) -> dict[str, Any]:
    try:
        body, status, is_about_parameters = await do(), 200, False
    except Refused as refused:
        body, status = {"error": refused.error}, refused.status
        is_about_parameters = refused.is_about_parameters
    return {"status": status, "body": body, "is_about_parameters": is_about_parameters}


def _response(answer: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    about = {"Request-Id": f"req_{uuid.uuid4().hex[:14]}", **(headers or {})}
    return JSONResponse(answer["body"], status_code=answer["status"], headers=about)


def _refusal(status: int, message: str, code: str | None) -> Response:
    error = Refused(status, message, kind="idempotency_error", code=code).error
    return _response({"status": status, "body": {"error": error}})
