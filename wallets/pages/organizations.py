"""For whom somebody acts, who belongs to several organizations or to the operator's staff."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from wallets import access, selectors
from wallets.pages.base import SESSION_KEY


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def choose(request: HttpRequest) -> HttpResponse:
    """Choose an organization; staff name any by its id."""
    problem = ""
    if request.method == "POST":
        named = request.POST.get("organization", "").strip()
        try:
            found = access.find_access(request.user, named)
        except access.OrganizationMalformed:
            problem = "That is no organization's id: it looks like 0197a3f0-0000-7000-8000-…"
        except access.OrganizationUnknown:
            # Said as of somebody else's, whose existence is nobody's business here.
            raise PermissionDenied("You do not belong to this organization.") from None
        except access.NotAMember as refusal:
            raise PermissionDenied(str(refusal)) from None
        else:
            request.session[SESSION_KEY] = str(found.organization_id)
            return redirect("wallet")
    context = {"organizations": selectors.organizations_of(request.user), "problem": problem}
    return TemplateResponse(
        request, "wallets/organizations.html", context, status=400 if problem else 200
    )
