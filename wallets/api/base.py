"""Endpoints that act for one organization."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from voxbilling.api import throttles
from voxbilling.api.errors import Problem
from voxbilling.tenancy import tenant_scope
from wallets import access, audit, ledger
from wallets.access import Access

# A method of an OrganizationView.
Handler = Callable[..., Response]

# 402 is each endpoint's own: the names of its figures are part of the contract.
_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    access.OrganizationNotNamed: (400, "organization_not_named"),
    access.OrganizationMalformed: (400, "bad_input"),
    access.NotAMember: (403, "not_a_member"),
    access.MayOnlyRead: (403, "may_only_read"),
    access.StaffOnly: (403, "staff_only"),
    access.OrganizationUnknown: (404, "organization_unknown"),
    ledger.OrganizationNotFound: (404, "organization_unknown"),
    ledger.OrganizationSuspended: (403, "organization_suspended"),
    ledger.IdempotencyConflict: (422, "idempotency_conflict"),
}


def reads(handler: Handler) -> Handler:
    """Run a handler in the organization's tenant scope: it sees one organization, and writes not.

    What it answers is rendered in that scope, too.
    """

    @wraps(handler)
    def scoped(view: "OrganizationView", request: Request, *args: Any, **kwargs: Any) -> Response:
        with tenant_scope(view.access.organization_id):
            response = handler(view, request, *args, **kwargs)
            view.finalize_response(request, response, *args, **kwargs).render()
            return response

    return scoped


def spends(handler: Handler) -> Handler:
    """Refuse a handler to viewers, and record it if staff use it."""

    @wraps(handler)
    def guarded(view: "OrganizationView", request: Request, *args: Any, **kwargs: Any) -> Response:
        view.access.require_spending()
        with audit.as_the_customer(
            view.access,
            request.user,
            method=str(request.method),
            path=request.path,
            sent=request.data,
        ):
            return handler(view, request, *args, **kwargs)

    return guarded


def staff_only(handler: Handler) -> Handler:
    """Refuse a handler to customers. It runs outside the tenant scope, and so filters by itself."""

    @wraps(handler)
    def guarded(view: "OrganizationView", *args: Any, **kwargs: Any) -> Response:
        view.access.require_staff()
        return handler(view, *args, **kwargs)

    return guarded


class OrganizationView(APIView):
    """A view whose handlers, each marked with one of the above, find `self.access` set.

    Refusals of `wallets.access` and of the ledger become the contract's statuses here.
    """

    access: Access

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # Every body is JSON. An empty one that calls itself a form would become a form's data, in
        # which a checkbox that is missing means "off".
        request.META["CONTENT_TYPE"] = "application/json"
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)
        self.access = access.find_access(request.user, request.headers.get("X-Org-Id"))
        throttles.count(throttles.PER_ORGANIZATION, str(self.access.organization_id))

    def handle_exception(self, exc: Exception) -> Response:
        refusal = _REFUSALS.get(type(exc))
        if refusal is not None:
            status, code = refusal
            exc = Problem(status, code, str(exc))
        return super().handle_exception(exc)
