"""Endpoints that act for one organization."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from voxbilling.api.errors import Problem
from voxbilling.tenancy import finish_in_scope, tenant_scope
from wallets import access, ledger
from wallets.access import Access

# A method of an OrganizationView.
Handler = Callable[..., Response]

# 402 is each endpoint's own: the names of its figures are part of the contract.
_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    access.OrganizationNotNamed: (400, "organization_not_named"),
    access.OrganizationMalformed: (400, "bad_input"),
    access.NotAMember: (403, "not_a_member"),
    access.MayOnlyRead: (403, "may_only_read"),
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
    def scoped(view: "OrganizationView", *args: Any, **kwargs: Any) -> Response:
        view.is_reading = True
        with tenant_scope(view.access.organization_id):
            return handler(view, *args, **kwargs)

    return scoped


def spends(handler: Handler) -> Handler:
    """Refuse a handler to viewers."""

    @wraps(handler)
    def guarded(view: "OrganizationView", *args: Any, **kwargs: Any) -> Response:
        view.access.require_spending()
        return handler(view, *args, **kwargs)

    return guarded


class OrganizationView(APIView):
    """A view whose handlers, each marked `reads` or `spends`, find `self.access` set.

    Refusals of `wallets.access` and of the ledger become the contract's statuses here.
    """

    access: Access
    is_reading = False

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        # Before the throttles, which count by organization.
        self.permission_denied_unless_signed_in(request)
        self.access = access.find_access(request.user, request.headers.get("X-Org-Id"))

    def permission_denied_unless_signed_in(self, request: Request) -> None:
        if not request.user or not request.user.is_authenticated:
            self.permission_denied(request)

    def handle_exception(self, exc: Exception) -> Response:
        refusal = _REFUSALS.get(type(exc))
        if refusal is not None:
            status, code = refusal
            exc = Problem(status, code, str(exc))
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        finished = super().finalize_response(request, response, *args, **kwargs)
        return (
            finish_in_scope(self.access.organization_id, finished) if self.is_reading else finished
        )
