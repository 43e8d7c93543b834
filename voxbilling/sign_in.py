"""How sign-in is throttled (django-axes): by name and address together, so that nobody can lock
somebody else out from afar. The API counts wrong passwords by name and by address besides."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from rest_framework.request import Request

from voxbilling.api.throttles import address_of
from voxbilling.api.views import PREFIX


def address(request: HttpRequest) -> str | None:
    """Where somebody signs in from; the first address of an IPv6 network of one customer's size."""
    return address_of(Request(request)).partition("/")[0] or None


def locked_out(
    request: HttpRequest, _response: HttpResponse | None, _credentials: dict[str, Any] | None
) -> HttpResponse:
    """What is answered, right password or wrong, after too many wrong ones."""
    minutes = settings.AXES_COOLOFF_TIME.seconds // 60
    sentence = f"Too many wrong passwords: try again in {minutes} minutes."
    response: HttpResponse
    if request.path.startswith(PREFIX):
        response = JsonResponse({"error": sentence, "code": "too_many_requests"}, status=429)
    else:
        context = {"sentence": sentence}
        response = TemplateResponse(
            request, "registration/locked_out.html", context, status=429
        ).render()
    response["Retry-After"] = str(60 * minutes)
    return response
