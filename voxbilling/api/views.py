"""The schema and its page, and what is answered where there is no endpoint."""

import sys
from functools import cache
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.views import APIView

from voxbilling.api.errors import RETRY_AFTER_SECONDS

PREFIX = "/api/"


class SchemaView(APIView):
    """The schema as JSON."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, _request: Request) -> HttpResponse:
        return HttpResponse(schema(), content_type=OpenApiJsonRenderer2.media_type)


@cache
def schema() -> bytes:
    """It takes a third of a second to make, and anybody may ask for it."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    described = generator.get_schema(public=True)  # type: ignore[no-untyped-call]
    return bytes(OpenApiJsonRenderer2().render(described))


class DocsView(SpectacularSwaggerSplitView):
    """The page that shows the schema; the browser itself keeps it from loading anything else."""

    url_name = "api-schema"

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        finished = super().finalize_response(request, response, *args, **kwargs)
        finished["Content-Security-Policy"] = (
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
        )
        return finished


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """Any other address below /api/. Django's own answer would be a page, and in DEBUG a long one.

    Because this answers, Django does not send a POST without its last slash elsewhere, as a GET.
    """
    sentence = (
        f"Nothing is served at {request.path}: /api/docs/ shows every address, slashes included."
    )
    return JsonResponse({"error": sentence, "code": "not_found"}, status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(PREFIX):
        sentence = "This request cannot be understood."
        return JsonResponse({"error": sentence, "code": "bad_request"}, status=400)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """For what no view expected. A server of ours that is down is worth trying again."""
    is_passing = isinstance(sys.exception(), (OperationalError, InterfaceError, RedisError))
    status = 503 if is_passing else 500
    response: HttpResponse
    if request.path.startswith(PREFIX):
        sentence = "Something went wrong on our side. It was recorded; try again later."
        code = "unavailable" if is_passing else "server_error"
        response = JsonResponse({"error": sentence, "code": code}, status=status)
    else:
        # Without the request: to know who asks, it would ask the database.
        response = HttpResponse(render_to_string(f"{status}.html"), status=status)
    if is_passing:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
