"""How sign-in is throttled: by name and address together (django-axes), so that nobody can lock
somebody else out from afar, and by address, for those who try one password with many names. The API
counts by name besides."""

from typing import Any, cast

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from unfold.forms import AuthenticationForm as UnfoldAuthenticationForm

from voxbilling.api import throttles
from voxbilling.api.views import PREFIX

# What django-axes has room for; names that somebody can have are shorter.
_LONGEST_NAME = 255


def address(request: HttpRequest) -> str | None:
    """Where somebody signs in from; the first address of an IPv6 network of one customer's size."""
    return throttles.address_of(Request(request)).partition("/")[0] or None


def name(_request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """Whose name was given, as far as there is room for it."""
    given = (credentials or {}).get("username")
    return None if given is None else str(given)[:_LONGEST_NAME]


class _CountedByAddress:
    """A form that counts wrong passwords by address, and asks no password when there were many."""

    request: HttpRequest | None

    def clean(self) -> Any:
        # The views that show it give it their request.
        who = throttles.address_of(Request(cast(HttpRequest, self.request)))
        try:
            # Before the password is looked at: guesses at once must not pass together.
            counted = throttles.count(throttles.WRONG_PER_ADDRESS, who)
        except Throttled as throttled:
            seconds = getattr(throttled, "wait", None) or 1
            raise ValidationError(
                f"Too many wrong passwords: try again in {seconds} seconds."
            ) from None
        cleaned = super().clean()  # type: ignore[misc] # the form that it is mixed into
        throttles.give_back(counted)
        return cleaned


class SignInForm(_CountedByAddress, AuthenticationForm):
    """For customers' pages."""


class StaffSignInForm(_CountedByAddress, UnfoldAuthenticationForm):  # type: ignore[misc] # untyped
    """For the admin."""


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
