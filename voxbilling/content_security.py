"""What a page may load and where its forms may lead: nothing from another host, nothing inline."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
_STRIPES_API = "api.stripe.com"
_STRIPES_PAGES = "https://checkout.stripe.com"


class ContentSecurityMiddleware:
    """Sets the policy of each answer that has none; not the admin's, whose pages are Django's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._policy = policy()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path.startswith("/admin/"):
            response.headers.setdefault(HEADER, self._policy)
        return response


def policy() -> str:
    """Browsers hold a form's redirection against the policy, too: a top-up's leads to Stripe."""
    api = urlsplit(settings.STRIPE_API_URL)
    pages = _STRIPES_PAGES if api.hostname == _STRIPES_API else f"{api.scheme}://{api.netloc}"
    return (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action 'self' {pages}"
    )
