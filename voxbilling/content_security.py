"""What a page may load and where its forms may lead: nothing from another host.

Customers' pages have nothing inline. The admin has what unfold needs, and nothing more: Alpine
evaluates the expressions in its attributes as scripts, and its colours are a style element.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
_STRIPES_API = "api.stripe.com"
_STRIPES_PAGES = "https://checkout.stripe.com"


class ContentSecurityMiddleware:
    """Sets the policy of each answer that has none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._policy, self._admins_policy = policy(), admins_policy()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_admins = request.path.startswith("/admin/")
        response.headers.setdefault(HEADER, self._admins_policy if is_admins else self._policy)
        return response


def policy() -> str:
    """Browsers hold a form's redirection against the policy, too: a top-up's leads to Stripe."""
    api = urlsplit(settings.STRIPE_API_URL)
    pages = _STRIPES_PAGES if api.hostname == _STRIPES_API else f"{api.scheme}://{api.netloc}"
    return (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action 'self' {pages}"
    )


def admins_policy() -> str:
    return (
        "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'self'"
    )
