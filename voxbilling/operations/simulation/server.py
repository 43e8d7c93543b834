"""The running server that simulated calls are played at."""

import json
from dataclasses import dataclass

from django.conf import settings
from django.core.management.base import CommandError

# Nothing listens there: an order to end a call goes nowhere without the sandbox.
_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where it is, the secret that it knows Vapi by, and where calls have their control URLs."""

    base_url: str
    secret: str
    sandbox_url: str


def find_server(base_url: str | None) -> Server:
    """The named server, or else the stack that runs in the data directory.

    Either must work on the database and with the secrets that settings name. Raises CommandError.
    """
    if not settings.VAPI_WEBHOOK_SECRETS:
        raise CommandError(
            "Set VAPI_WEBHOOK_SECRETS to a secret that the server knows: calls are played with it."
        )
    secret = settings.VAPI_WEBHOOK_SECRETS[0]
    if base_url is not None:
        return Server(base_url=base_url.rstrip("/"), secret=secret, sandbox_url=_NOWHERE)
    try:
        demo = json.loads((settings.DATA_DIR / "demo.json").read_text())
    except FileNotFoundError:
        raise CommandError(
            "No stack is running here: use `make run` first, or name a server with --base-url."
        ) from None
    return Server(base_url=demo["base_url"], secret=secret, sandbox_url=demo["sandbox_url"])
