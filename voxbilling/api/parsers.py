"""Reading what was sent, and choosing how to answer."""

from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.utils import json

# The largest body that any endpoint has a use for is some hundred bytes.
MAX_BODY_BYTES = 64 * 1024


class AnyJSONParser(JSONParser):
    """JSON, whatever Content-Type says: plain `curl -d` names a form."""

    def parse(self, stream: IO[Any], *_context: Any, **_more: Any) -> Any:
        """Raises ParseError for what is no JSON, names a thing twice, or nests too deep."""
        body = stream.read()
        if len(body) > MAX_BODY_BYTES:
            raise RequestDataTooBig
        try:
            return json.loads(
                body.decode(),
                parse_constant=json.strict_constant,
                object_pairs_hook=_object,
            )
        except (ValueError, RecursionError):
            raise ParseError("The body must be JSON, in UTF-8, with no name twice.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values for one name: whoever sent that meant one of them, and we cannot know which."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("A name occurs twice in an object.")
    return members


class AlwaysJSON(BaseContentNegotiation):
    """Every body is read as JSON and every answer is JSON, whatever the headers ask for."""

    def select_parser(self, _request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, _request: Any, renderers: Any, _format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def body_of(request: Request, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
    """The body, as the serializer reads it. Raises ValidationError."""
    return _valid(serializer_class, request.data)


def query_of(request: Request, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
    """The query parameters, as the serializer reads them. Raises ValidationError.

    One without a value is wrong like any other value; one without a name, or that comes twice, is
    not guessed at.
    """
    for name, values in request.query_params.lists():
        if not name:
            raise ValidationError({"query": ["Every parameter needs a name."]})
        if len(values) > 1:
            raise ValidationError({name: ["Send this once."]})
    # As a dict: in Django's own type, a parameter without a value would count as one that is not
    # there, and a filter that went wrong would show everything.
    return _valid(serializer_class, request.query_params.dict())


def _valid(serializer_class: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
