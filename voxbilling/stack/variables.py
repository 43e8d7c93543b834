"""The environment that settings read when the embedded servers are the ones in use."""

import os
from collections.abc import Mapping
from urllib.parse import quote

import environ

from voxbilling.stack.servers import Servers

# Nothing listens on the discard port: without a sandbox, a call to a provider fails at once.
_NO_SANDBOX = "http://127.0.0.1:9"
# Where `make run` serves the site, unless told otherwise.
_USUAL_SITE = "http://127.0.0.1:8000"


def embedded_servers_are_meant() -> bool:
    """True if no server is named and DEBUG was not turned off. `.env` must have been read."""
    named = os.environ.get("DATABASE_URL") or os.environ.get("REDIS_URL")
    debug: bool = environ.Env().bool("DEBUG", default=True)
    return debug and not named


def for_servers(
    servers: Servers, sandbox_url: str = _NO_SANDBOX, site_url: str = _USUAL_SITE
) -> dict[str, str]:
    """All that settings need to run on these servers. What the user set wins."""
    passwords = servers.data.passwords
    variables = {
        "DEBUG": "1",
        "SECRET_KEY": passwords["secret_key"],
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "VAPI_WEBHOOK_SECRETS": passwords["vapi_webhook_secret"],
        "SITE_URL": site_url,
        # The path itself begins with the fourth slash.
        "EMAIL_URL": f"filemail:///{quote(str(servers.data.mail))}",
    }
    if not os.environ.get("VAPI_API_KEY"):
        variables |= {"VAPI_API_KEY": "sandbox", "VAPI_API_URL": f"{sandbox_url}/vapi"}
    if not os.environ.get("TWILIO_AUTH_TOKEN"):
        variables |= {
            "TWILIO_ACCOUNT_SID": "ACsandbox",
            "TWILIO_AUTH_TOKEN": "sandbox",
            "TWILIO_API_URL": f"{sandbox_url}/twilio",
        }
    if not os.environ.get("STRIPE_SECRET_KEY"):
        variables |= {
            "STRIPE_SECRET_KEY": "sk_test_sandbox",
            "STRIPE_API_URL": f"{sandbox_url}/stripe",
        }
    variables["STRIPE_WEBHOOK_SECRET"] = passwords["stripe_webhook_secret"]
    variables = _what_the_user_set_wins(variables)
    # What Vapi's place in this stack and the health checks ask by, besides what the user named.
    named = os.environ.get("ALLOWED_HOSTS")
    variables["ALLOWED_HOSTS"] = ",".join(filter(None, [named, "127.0.0.1", "localhost"]))
    # Proxies lead away from this machine, where the stack and its sandbox are.
    local = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1", "localhost"]
    variables["NO_PROXY"] = variables["no_proxy"] = ",".join(filter(None, local))
    variables["VOXBILLING_DATA_DIR"] = str(servers.data.root)
    return variables


def without_servers() -> dict[str, str]:
    """Enough for settings to be imported by a command that reaches no server."""
    return _what_the_user_set_wins(
        {
            "DEBUG": "1",
            "SECRET_KEY": "for-commands-that-reach-no-server",
            "DATABASE_URL": "postgresql:///voxbilling?host=/nonexistent",
            "REDIS_URL": "unix:///nonexistent",
        }
    )


def _what_the_user_set_wins(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ.get(name) or value for name, value in variables.items()}
