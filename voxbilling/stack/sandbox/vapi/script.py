"""What a simulated call is to do, and what goes wrong with it on its way to voxbilling.

Whoever starts a call sends it along as `sandbox`, all of it optional:

    lastsSeconds        60  how long the two talk if nobody ends the call; 0: it never connects
    endedReason             why it ends then
    ringsSeconds        0   between its creation and its start
    reportAfterSeconds  5   between its end and the end-of-call-report
    messages            {}  the fate of messages: {"report": "lost", "ended": "late"}
    lateSeconds         10  how much later than it should a late message is sent
    controlFailures     0   how many requests to the control URL are answered 500, from the first on
    controlSeconds      0   how long the control URL takes, before it does anything
    lookupFailures      0   how many times `GET /call/{id}` is answered 503, from the first on
    backoffPlan         {}  {"type", "maxRetries", "baseDelaySeconds"} as in Vapi's `server`;
                            without it, no message is tried again

Messages are assistant-request, queued, ringing, in-progress, ended and report; each can be lost,
doubled or late. An `ended` that is later than the report is overtaken by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGES = frozenset({"assistant-request", "queued", "ringing", "in-progress", "ended", "report"})
FATES = frozenset({"lost", "doubled", "late"})
_LONGEST_SECONDS = 43_200
_MOST_FAILURES = 1_000_000
_LONGEST_REASON = 200
_MOST_RETRIES = 10
_LONGEST_DELAY_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How often a message that was not taken is sent again, and after how many seconds."""

    max_retries: int = 0
    base_delay_seconds: float = 1
    is_exponential: bool = False

    def delays(self) -> list[float]:
        """Seconds to wait before each retry."""
        return [
            self.base_delay_seconds * (2**retry if self.is_exponential else 1)
            for retry in range(self.max_retries)
        ]


@dataclass(frozen=True, kw_only=True)
class Script:
    """The course of one call, as the module's docstring explains it."""

    lasts_seconds: float = 60
    ended_reason: str = ""
    rings_seconds: float = 0
    report_after_seconds: float = 5
    messages: Mapping[str, str] = field(default_factory=dict)
    late_seconds: float = 10
    control_failures: int = 0
    control_seconds: float = 0
    lookup_failures: int = 0
    backoff: Backoff = Backoff()


_SECONDS = {
    "lastsSeconds": "lasts_seconds",
    "ringsSeconds": "rings_seconds",
    "reportAfterSeconds": "report_after_seconds",
    "lateSeconds": "late_seconds",
    "controlSeconds": "control_seconds",
}
_COUNTS = {"controlFailures": "control_failures", "lookupFailures": "lookup_failures"}
_KNOWN = _SECONDS.keys() | _COUNTS.keys() | {"endedReason", "messages", "backoffPlan"}


def read(wanted: Any) -> Script:
    """The script that JSON describes. ValueError, with a sentence, if it describes none."""
    if not isinstance(wanted, dict):
        raise ValueError("sandbox must be an object.")
    if unknown := wanted.keys() - _KNOWN:
        raise ValueError(f"sandbox knows no {', '.join(sorted(unknown))}.")
    given: dict[str, Any] = {}
    for name, attribute in _SECONDS.items():
        if name in wanted:
            given[attribute] = _number(wanted[name], name, _LONGEST_SECONDS)
    for name, attribute in _COUNTS.items():
        if name in wanted:
            given[attribute] = _whole_number(wanted[name], name, _MOST_FAILURES)
    reason = wanted.get("endedReason", "")
    if not isinstance(reason, str) or len(reason) > _LONGEST_REASON:
        raise ValueError(f"endedReason must be a text of at most {_LONGEST_REASON} characters.")
    messages = wanted.get("messages", {})
    if not isinstance(messages, dict) or messages.keys() - MESSAGES:
        raise ValueError(f"messages must be an object of {', '.join(sorted(MESSAGES))}.")
    if any(not isinstance(fate, str) or fate not in FATES for fate in messages.values()):
        raise ValueError(f"a message's fate is one of {', '.join(sorted(FATES))}.")
    return Script(
        **given,
        ended_reason=reason,
        messages=messages,
        backoff=_backoff(wanted.get("backoffPlan", {})),
    )


def _backoff(wanted: Any) -> Backoff:
    if not isinstance(wanted, dict) or wanted.get("type", "fixed") not in {"fixed", "exponential"}:
        raise ValueError("backoffPlan must be an object whose type is fixed or exponential.")
    return Backoff(
        max_retries=_whole_number(wanted.get("maxRetries", 0), "maxRetries", _MOST_RETRIES),
        base_delay_seconds=_number(
            wanted.get("baseDelaySeconds", 1), "baseDelaySeconds", _LONGEST_DELAY_SECONDS
        ),
        is_exponential=wanted.get("type") == "exponential",
    )


def _number(value: Any, name: str, maximum: int) -> float:
    if type(value) not in {int, float} or not 0 <= value <= maximum:
        raise ValueError(f"{name} must be a number from 0 to {maximum}.")
    return float(value)


def _whole_number(value: Any, name: str, maximum: int) -> int:
    if type(value) is not int or not 0 <= value <= maximum:
        raise ValueError(f"{name} must be a whole number from 0 to {maximum}.")
    return value
