"""What clients of the sandbox send it as JSON."""

import json
from typing import Any

from starlette.requests import Request

# Deeper than anything that a provider's body has, and shallow enough to be written out again.
_DEEPEST = 50


async def json_of(request: Request) -> Any:
    """The body as JSON. ValueError if it is none, or is nested too deeply to be worked with."""
    try:
        body = json.loads(await request.body())
    except RecursionError:
        raise ValueError("the body is nested too deeply.") from None
    level = [body]
    for _ in range(_DEEPEST):
        level = [inside for value in level for inside in _inside(value)]
        if not level:
            return body
    raise ValueError("the body is nested too deeply.")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
