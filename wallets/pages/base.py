"""What pages share: who is there, for which organization, and what they may see and do.

A person with several organizations chooses one, which the session remembers. Views that read run,
rendering included, in the tenant scope; views that spend run outside it, after the check.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh
from rest_framework.exceptions import Throttled

from voxbilling.tenancy import finish_in_scope, tenant_scope
from wallets import access, audit
from wallets.access import Access

SESSION_KEY = "organization_id"
_FORM_TOKEN = "csrfmiddlewaretoken"  # noqa: S105 - a field's name

_CHOSEN_ANOTHER = (
    "Nothing was done: you have chosen another organization since that page was opened."
)

Page = Callable[..., HttpResponse]


def reads(page: Page) -> Page:
    """A page that sees one organization, and writes nothing. It is given the access."""

    @_with_access
    @wraps(page)
    def scoped(request: HttpRequest, access: Access, *args: Any, **kwargs: Any) -> HttpResponse:
        with tenant_scope(access.organization_id):
            response = page(request, access, *args, **kwargs)
            return finish_in_scope(access.organization_id, response)

    return scoped


def spends(page: Page) -> Page:
    """A page that owners may act on, and staff on record. What it shows, it renders by `show`."""

    @_with_access
    @wraps(page)
    def guarded(request: HttpRequest, access: Access, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return page(request, access, *args, **kwargs)
        access.require_spending()
        sent = {name: value for name, value in request.POST.items() if name != _FORM_TOKEN}
        with audit.as_the_customer(
            access, request.user, method="POST", path=request.path, sent=sent
        ):
            return page(request, access, *args, **kwargs)

    return guarded


def is_part(request: HttpRequest) -> bool:
    """Whether a page on the screen asks for a part of itself; going back asks for all of it."""
    headers = request.headers
    return "HX-Request" in headers and "HX-History-Restore-Request" not in headers


def too_many(request: HttpRequest, throttled: Throttled) -> HttpResponse:
    """That somebody asked too often, and when to come back."""
    seconds = getattr(throttled, "wait", None) or 1
    sentence = f"Too many requests: try again in {seconds} seconds."
    response = TemplateResponse(request, "too_many.html", {"sentence": sentence}, status=429)
    response["Retry-After"] = str(seconds)
    return response


def show(
    request: HttpRequest,
    access: Access,
    template: str,
    context: Callable[[], dict[str, Any]],
    status: int = 200,
) -> HttpResponse:
    """Render a page in the tenant scope; `context` is made there, too."""
    with tenant_scope(access.organization_id):
        given = {"access": access, **context()}
        response = TemplateResponse(request, template, given, status=status)
        return finish_in_scope(access.organization_id, response)


def _is_of_another(request: HttpRequest, found: Access) -> bool:
    """Whether this comes from a page that was opened for another organization.

    Forms and parts name the organization of their page. Who has chosen one since, in another tab,
    must not spend its money from there, nor see its figures under the other's name.
    """
    if request.method == "POST":
        named = request.POST.get("organization")
        # Who never had to choose has nothing to mistake it for.
        if named is None and SESSION_KEY not in request.session:
            return False
        return named != str(found.organization_id)
    return request.headers.get("X-Org-Id", str(found.organization_id)) != str(found.organization_id)


def _say_so(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseClientRefresh()
    messages.warning(request, _CHOSEN_ANOTHER)
    return HttpResponseClientRedirect(reverse("wallet")) if is_part(request) else redirect("wallet")


def _with_access(page: Page) -> Page:
    @wraps(page)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            # A part is answered so that the browser asks for the whole page, or the page to sign
            # in on would be put where the part was.
            if is_part(request):
                return HttpResponseClientRefresh()
            return redirect_to_login(request.get_full_path())
        try:
            found = access.find_access(request.user, request.session.get(SESSION_KEY))
            if _is_of_another(request, found):
                return _say_so(request)
            return page(request, found, *args, **kwargs)
        except (access.OrganizationNotNamed, access.OrganizationUnknown):
            return redirect("choose-organization")
        except access.NotAMember as refusal:
            # The organization that was chosen is somebody else's by now.
            request.session.pop(SESSION_KEY, None)
            raise PermissionDenied(str(refusal)) from None
        except access.AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from None

    return checked
