"""Reading request bodies."""

from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils import json


class AnyJSONParser(JSONParser):
    """JSON, whatever Content-Type says: plain `curl -d` names a form."""

    media_type = "*/*"

    def parse(self, stream: IO[Any], *_context: Any, **_more: Any) -> Any:
        """Raises ParseError for what is no JSON, or nests too deep to be read."""
        try:
            return json.loads(stream.read().decode(), parse_constant=json.strict_constant)
        except (ValueError, RecursionError):
            raise ParseError("The body must be JSON, in UTF-8.") from None
