"""How endpoints are documented: `documented` on each method of a view, above `reads` and `spends`.

    @documented(
        "Hold money for a call",
        body=HoldSerializer,
        answers={200: HeldSerializer},
        refusals={402: OpenApiResponse(NotEnoughSerializer, "The wallet cannot pay."),
                  409: "Vapi announced this call: only its report settles it."},
        example_body={"callId": "call-1", "estimatedMinutes": 5},
        example_answer={"success": True, ...},
    )
    @spends
    def post(self, request): ...

The method's docstring is the description. The header X-Org-Id and the refusals that every endpoint
for an organization shares (400, 401, 403, 404, 429, 503, with a body also 413) are added here: name
only what is the endpoint's own, or says more. A refusal that carries figures has a serializer
derived from `ErrorSerializer`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

Handler = TypeVar("Handler", bound=Callable[..., Any])
Refusal = str | OpenApiResponse


class ErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text="A sentence for people.")
    code = serializers.CharField(help_text="What went wrong, for programs.")


class BadInputSerializer(ErrorSerializer):
    fields = serializers.DictField(  # type: ignore[assignment]
        required=False, help_text="What is wrong, by the name of the field."
    )


ORGANIZATION = OpenApiParameter(
    "X-Org-Id",
    OpenApiTypes.UUID,
    OpenApiParameter.HEADER,
    description="The organization that is meant. May be left out by who belongs to one only.",
)
_HEADERS = [
    OpenApiParameter(
        "Retry-After",
        int,
        OpenApiParameter.HEADER,
        description="Seconds to wait.",
        response=[429, 503],
    ),
    OpenApiParameter("WWW-Authenticate", str, OpenApiParameter.HEADER, response=[401]),
]


def _error(description: str, code: str, sentence: str) -> OpenApiResponse:
    example = OpenApiExample(code, {"error": sentence, "code": code})
    return OpenApiResponse(ErrorSerializer, description, [example])


_BAD_INPUT = OpenApiResponse(
    BadInputSerializer,
    "Bad input; what is wrong with which field is in `fields`.",
    [
        OpenApiExample(
            "bad_input",
            {
                "error": "limit: Ensure this value is less than or equal to 100.",
                "code": "bad_input",
                "fields": {"limit": ["Ensure this value is less than or equal to 100."]},
            },
        )
    ],
)
_NOT_AUTHENTICATED = _error(
    "No token, or one that is not valid.",
    "not_authenticated",
    "Send a token: Authorization: Bearer <access token>.",
)
_TOO_LARGE = _error("The body is too large.", "too_large", "The body is too large.")
_ALWAYS = {
    429: _error(
        "Too many requests.", "too_many_requests", "Too many requests: try again in 12 seconds."
    ),
    503: _error(
        "A service that is needed is down.",
        "unavailable",
        "The database is not available; send this again.",
    ),
}
_FOR_ORGANIZATIONS = {
    403: _error(
        "Not yours: `not_a_member`, `may_only_read`, `organization_suspended`, `forbidden`.",
        "not_a_member",
        "You do not belong to this organization.",
    ),
    404: _error(
        "Unknown: `organization_unknown`, `not_found`.",
        "organization_unknown",
        "There is no organization 0197a3f0-0000-7000-8000-000000000000.",
    ),
}


def documented(
    summary: str,
    *,
    answers: Mapping[int, Any],
    body: Any = None,
    parameters: Sequence[Any] = (),
    refusals: Mapping[int, Refusal] | None = None,
    example_body: Any = None,
    example_answer: Any = None,
    for_organization: bool = True,
) -> Callable[[Handler], Handler]:
    """Describe a method of a view to the schema: what it takes, answers and refuses, by status.

    `parameters` are OpenApiParameters, or a serializer of all query parameters.
    """
    responses: dict[int, Any] = {**answers, 400: _BAD_INPUT, 401: _NOT_AUTHENTICATED, **_ALWAYS}
    if body is not None:
        responses[413] = _TOO_LARGE
    if for_organization:
        responses |= _FOR_ORGANIZATIONS
    for status, refusal in (refusals or {}).items():
        responses[status] = (
            OpenApiResponse(ErrorSerializer, refusal) if isinstance(refusal, str) else refusal
        )
    examples = []
    if example_body is not None:
        examples.append(OpenApiExample("request", example_body, request_only=True))
    if example_answer is not None:
        statuses = [str(status) for status in answers]
        examples.append(
            OpenApiExample("answer", example_answer, response_only=True, status_codes=statuses)
        )
    return extend_schema(
        summary=summary,
        request=body,
        parameters=[*([ORGANIZATION] if for_organization else []), *parameters, *_HEADERS],
        responses=dict(sorted(responses.items())),
        examples=examples,
    )
