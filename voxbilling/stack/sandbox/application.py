"""The sandbox's one application: each provider under its own name."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from voxbilling.stack.sandbox import twilio
from voxbilling.stack.sandbox.faults import Faults
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.numbers import Numbers
from voxbilling.stack.sandbox.stripe import Stripe
from voxbilling.stack.sandbox.vapi import call_routes, control, phone_numbers
from voxbilling.stack.sandbox.vapi.calls import Calls


async def health(_request: Request) -> Response:
    return JSONResponse({"status": "healthy", "service": "sandbox"})


def create(memory: Memory, calls: Calls, stripe: Stripe) -> Starlette:
    """A sandbox that knows what this memory does, plays these calls and takes these payments."""
    numbers, faults = Numbers(memory), Faults()
    at_vapi = [
        *control.routes(),
        *phone_numbers.routes(numbers, faults, memory),
        *call_routes.routes(calls, faults),
    ]
    return Starlette(
        routes=[
            Route("/healthz", health),
            *faults.routes(),
            Mount("/twilio", routes=twilio.routes(numbers, faults)),
            Mount("/vapi", routes=at_vapi),
            Mount("/stripe", routes=stripe.routes(faults)),
        ]
    )
