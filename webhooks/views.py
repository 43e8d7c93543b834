"""The addresses that providers post to. Views authenticate and translate; rules are elsewhere."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any
from uuid import UUID

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from calls import kill_switch
from voxbilling import logs, untrusted
from voxbilling.counts import WEBHOOK_ANSWERS, timed
from voxbilling.lanes import WEBHOOKS
from wallets.ledger import OrganizationNotFound
from webhooks import inbox, vapi_messages
from webhooks.authentication import (
    WebhookNotAuthenticated,
    authenticate_stripe,
    authenticate_vapi,
    require_a_credential,
    require_a_signature,
)
from webhooks.patience import transaction_in_time

logger = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5


def error(sentence: str, *, code: str, status: int) -> JsonResponse:
    return JsonResponse({"error": sentence, "code": code}, status=status)


View = Callable[[HttpRequest], HttpResponse]


def _from(
    provider: str,
    *,
    endpoint: str,
    require: Callable[[HttpRequest], None],
    authenticate: Callable[[HttpRequest], None],
    refused_status: int,
) -> Callable[[View], View]:
    """Let a view see only POSTs of a provider's, of bounded size; what fails is answered here.

    `require` looks at the headers alone, before the body is waited for: a stranger must not keep a
    thread by sending slowly.
    """

    def decorator(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def counted(request: HttpRequest) -> HttpResponse:
            with timed(WEBHOOK_ANSWERS, endpoint) as status:
                response = guarded(request)
                status.append(str(response.status_code))
            return response

        def guarded(request: HttpRequest) -> HttpResponse:
            if request.method != "POST":
                refusal = error("Send a POST.", code="method_not_allowed", status=405)
                refusal["Allow"] = "POST"
                return refusal
            if "Content-Length" not in request.headers:
                # WSGI hands a chunked body on as an empty one: better refused than misunderstood.
                return error("Send the body with a Content-Length.", code="bad_input", status=400)
            try:
                require(request)
                authenticate(request)
                with WEBHOOKS:
                    return view(request)
            except RequestDataTooBig:
                return error(
                    f"The body is too large for a {provider} message.",
                    code="too_large",
                    status=413,
                )
            except WebhookNotAuthenticated as unknown:
                logger.warning("webhook_not_authenticated", reason=str(unknown))
                return error(str(unknown), code="not_authenticated", status=refused_status)
            except untrusted.MalformedBody as malformed:
                return error(str(malformed), code="malformed_body", status=400)
            except DatabaseError:
                logger.exception("database_unavailable")
                response = error(
                    "The database is not available; send this again.",
                    code="unavailable",
                    status=503,
                )
                response["Retry-After"] = str(RETRY_AFTER_SECONDS)
                return response

        return counted

    return decorator


from_vapi = partial(
    _from,
    "Vapi",
    require=lambda request: require_a_credential(request.headers),
    authenticate=lambda request: authenticate_vapi(request.headers, request.body, timezone.now()),
    refused_status=401,
)
# Stripe's own examples answer 400 to a wrong signature.
from_stripe = partial(
    _from,
    "Stripe",
    require=lambda request: require_a_signature(request.headers),
    authenticate=lambda request: authenticate_stripe(request.headers, request.body),
    refused_status=400,
)


@from_stripe(endpoint="stripe")
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Every event of Stripe's. Whatever was stored is answered 200, also if it is unusable."""
    inbox.receive_stripe(untrusted.load(request.body))
    return JsonResponse({"received": True})


@from_vapi(endpoint="vapi")
def vapi_webhook(request: HttpRequest) -> HttpResponse:
    """Every server message of Vapi. Whatever was stored is answered 200, also if it is unusable."""
    return JsonResponse(inbox.receive_vapi(request.body) or {})


@from_vapi(endpoint="status-check")
def status_check(request: HttpRequest) -> HttpResponse:
    """Whether a call may go on; asked by an assistant's tool or a scheduler every minute."""
    asked = vapi_messages.read_status_check(untrusted.load(request.body))
    logs.learn(vapi_call_id=asked.vapi_call_id)
    organization_id = None
    if header := request.headers.get("X-Org-Id"):
        try:
            organization_id = UUID(header)
        except ValueError:
            # A call that is known needs no header, so a wrong one must not keep it from ending.
            if not kill_switch.is_known(asked.vapi_call_id):
                return error(
                    "X-Org-Id must be an organization's UUID.", code="bad_input", status=400
                )
    try:
        with transaction_in_time():
            verdict = kill_switch.check_status(
                vapi_call_id=asked.vapi_call_id,
                reported_elapsed_seconds=asked.elapsed_seconds,
                organization_id=organization_id,
            )
    except OrganizationNotFound:
        # Neither the call nor the organization is known: that ends no call.
        verdict = kill_switch.StatusCheck(end_call=False)
    answer: dict[str, Any] = {"endCall": verdict.end_call}
    if verdict.message:
        answer["message"] = verdict.message
    answer["balance_pence"] = verdict.balance_pence
    answer["effective_balance_pence"] = verdict.effective_balance_pence
    answer["remaining_seconds"] = verdict.remaining_seconds
    return JsonResponse(answer)


@csrf_exempt
@require_safe
def health(_request: HttpRequest) -> HttpResponse:
    """Whether webhooks are served; asks nothing of other servers."""
    return JsonResponse({"status": "healthy", "service": "vapi-webhook"})
