"""How facts are written for staff: names as words, pence as pounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst

from wallets.formats import pounds


@dataclass(frozen=True, kw_only=True)
class Change:
    """One fact before and after, in words."""

    name: str
    before: str
    after: str

    @property
    def is_changed(self) -> bool:
        return self.before != self.after

    def __str__(self) -> str:
        return f"{self.name} {self.before} → {self.after}"


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    """Every fact that either side knows, in their order."""
    before, after = before or {}, after or {}
    return [
        Change(name=label(name), before=_side(before, name), after=_side(after, name))
        for name in {**before, **after}
    ]


def label(name: str) -> str:
    return capfirst(name.removesuffix("_pence").replace("_", " "))


def in_words(name: str, value: Any) -> str:
    if value is None or value == "":
        return "–"
    if name.endswith("_pence") and isinstance(value, int):
        return pounds(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def _side(facts: Mapping[str, Any], name: str) -> str:
    return in_words(name, facts.get(name))
