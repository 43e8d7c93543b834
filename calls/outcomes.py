"""What became of a message about a call."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A sentence for staff, whose call it was, and what Vapi is answered (None: nothing).

    `usable` is false for a message that billing would have needed and could not use.
    """

    text: str
    usable: bool = True
    organization_id: UUID | None = None
    answer: dict[str, Any] | None = None


NOBODY_PAYS = Outcome(
    usable=False,
    text="Nobody is known to pay for this call: neither its number nor its assistant is here.",
)
