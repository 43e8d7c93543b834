"""The sandbox's one application: each provider under its own name."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from voxbilling.stack.sandbox import vapi


async def health(_request: Request) -> Response:
    return JSONResponse({"status": "healthy", "service": "sandbox"})


def create() -> Starlette:
    """A sandbox that has seen nothing yet."""
    return Starlette(routes=[Route("/healthz", health), Mount("/vapi", routes=vapi.routes())])
