"""What Stripe's clients send: forms whose names have brackets, like `line_items[0][quantity]`."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from voxbilling.stack.sandbox.stripe.errors import Refused

_MOST_FIELDS = 1_000
_DEEPEST = 10
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_MOST_METADATA, _LONGEST_KEY, _LONGEST_VALUE = 50, 40, 500


class Params:
    """Fields by name, read as what they should be. All refusals name the field as Stripe does."""

    def __init__(self, fields: dict[str, Any], within: str = "") -> None:
        self._fields = fields
        self._within = within

    @classmethod
    def of(cls, encoded: str) -> "Params":
        """What a form or a query string says."""
        fields: dict[str, Any] = {}
        pairs = parse_qsl(encoded, keep_blank_values=True)
        if len(pairs) > _MOST_FIELDS:
            raise _invalid("There are too many parameters.", None)
        for name, value in pairs:
            matched = _NAME.fullmatch(name)
            if matched is None:
                raise _invalid(f"Invalid parameter name: {name}", name)
            steps = [matched[1], *re.findall(r"\[([^\[\]]*)\]", matched[2])]
            _put(fields, steps, value, name)
        return cls(fields)

    def only(self, names: Iterable[str]) -> None:
        """Refuse what is none of these."""
        for name in sorted(self._fields.keys() - {*names, "expand"}):
            full = self._full(name)
            raise _invalid(f"Received unknown parameter: {full}", full, "parameter_unknown")

    def text(self, name: str) -> str | None:
        """A text; None if it was not sent, or is blank."""
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise _invalid(f"Invalid string: {self._full(name)}", self._full(name))
        return value or None

    def needed(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            full = self._full(name)
            raise _invalid(f"Missing required param: {full}.", full, "parameter_missing")
        return value

    def whole(self, name: str) -> int | None:
        """A whole number from 0; None if it was not sent."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,12}", value):
            full = self._full(name)
            raise _invalid(f"Invalid integer: {value}", full, "parameter_invalid_integer")
        return int(value)

    def needed_whole(self, name: str) -> int:
        self.needed(name)
        return self.whole(name) or 0

    def truth(self, name: str) -> bool | None:
        value = self.text(name)
        if value not in {None, "true", "false"}:
            raise _invalid(f"Invalid boolean: {value}", self._full(name))
        return None if value is None else value == "true"

    def inside(self, name: str) -> "Params":
        """The fields in this one's brackets, none if it was not sent."""
        value = self._fields.get(name, {})
        if not isinstance(value, dict):
            raise _invalid(f"Invalid object: {self._full(name)}", self._full(name))
        return Params(value, self._full(name))

    def each(self, name: str) -> list["Params"]:
        """The fields of each member of a list of objects."""
        inside = self.inside(name)
        return [inside.inside(index) for index in inside._fields]

    def texts(self, name: str) -> list[str]:
        inside = self.inside(name)
        return [inside.needed(index) for index in inside._fields]

    def metadata(self) -> dict[str, str]:
        inside = self.inside("metadata")
        found = {key: inside.text(key) or "" for key in inside._fields}
        if (
            len(found) > _MOST_METADATA
            or any(len(key) > _LONGEST_KEY for key in found)
            or any(len(value) > _LONGEST_VALUE for value in found.values())
        ):
            raise _invalid(
                f"Metadata is at most {_MOST_METADATA} keys of {_LONGEST_KEY} characters, with "
                f"values of {_LONGEST_VALUE}.",
                inside._within,
            )
        return {key: value for key, value in found.items() if value}

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def _full(self, name: str) -> str:
        return f"{self._within}[{name}]" if self._within else name


def _put(fields: dict[str, Any], steps: list[str], value: str, name: str) -> None:
    if len(steps) > _DEEPEST:
        raise _invalid(f"Invalid parameter name: {name}", name)
    for step in steps[:-1]:
        fields = fields.setdefault(step, {})
        if not isinstance(fields, dict):
            raise _invalid(f"Invalid object: {name}", name)
    # `types[]=a&types[]=b` is a list, too.
    last = steps[-1] or str(len(fields))
    if isinstance(fields.get(last), dict):
        raise _invalid(f"Invalid string: {name}", name)
    fields[last] = value


def _invalid(message: str, param: str | None, code: str | None = None) -> Refused:
    return Refused(400, message, code=code, param=param, is_about_parameters=True)
