"""Secrets, keys and modes, as the settings have them. No value is ever shown."""

from collections.abc import Iterator

from django.conf import settings
from django.core import checks

from voxbilling.operations.verification.findings import Finding, failed, ok, warning

# 16 characters are 64 bits where they are hexadecimal.
_SHORTEST_SECRET = 16
# Django's own words on a weak SECRET_KEY, and on a weak one among the fallbacks. Its other checks
# of a deployment are about HTTPS, which there is none of with DEBUG on.
_ABOUT_KEYS = {"security.W009", "security.W025"}

_KEYS = ("VAPI_API_KEY", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "STRIPE_SECRET_KEY")


def check() -> Iterator[Finding]:
    """Every setting that is missing or weak."""
    problems = list(_problems())
    yield from problems
    if not problems:
        yield ok("settings", "secrets and providers' keys are set, and long enough")
    if settings.DEBUG:
        yield warning("settings", "DEBUG is on: never in production")


def _problems() -> Iterator[Finding]:
    for weakness in checks.run_checks(include_deployment_checks=True):
        about_debug = weakness.id == "security.W018"
        if not about_debug and (not settings.DEBUG or weakness.id in _ABOUT_KEYS):
            yield failed("settings", f"{weakness.msg.splitlines()[0]} ({weakness.id})")
    secrets = {
        "VAPI_WEBHOOK_SECRETS": settings.VAPI_WEBHOOK_SECRETS,
        "VAPI_WEBHOOK_HMAC_SECRETS": settings.VAPI_WEBHOOK_HMAC_SECRETS,
    }
    if not any(secrets.values()):
        yield failed("settings", f"every webhook is refused: set {' or '.join(secrets)}")
    for name, values in secrets.items():
        if any(len(value) < _SHORTEST_SECRET for value in values):
            yield failed(
                "settings", f"{name} has a secret of under {_SHORTEST_SECRET} characters: lengthen"
            )
    if len(settings.STRIPE_WEBHOOK_SECRET) < _SHORTEST_SECRET:
        yield failed(
            "settings",
            f"STRIPE_WEBHOOK_SECRET has less than {_SHORTEST_SECRET} characters: it is not the "
            "one that Stripe showed",
        )
    for name in _KEYS:
        if not getattr(settings, name).strip():
            yield failed("settings", f"{name} is missing: no call to that provider can work")
    for name in ("VAPI_API_URL", "TWILIO_API_URL", "STRIPE_API_URL"):
        if not settings.DEBUG and not getattr(settings, name).startswith("https://"):
            yield failed("settings", f"{name} is no https address: keys would travel in the open")
