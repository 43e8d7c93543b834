"""Untrusted JSON, and its values made fit to be stored and used, or None.

JSON's `true` is no number, and what is absurd in size is taken for missing.
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any
from urllib.parse import urlsplit

from voxbilling.storable_text import is_storable

# An id is opaque and means another call when cut, so one that is too long counts as missing.
MAX_TEXT_CHARS = 200
# A reason is for people and for matching by prefix, so it is cut.
MAX_REASON_CHARS = 500
MAX_CONTROL_URL_CHARS = 500
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# At a dollar a minute the longest call costs 720.
_MAX_COST_USD = Decimal(10_000)
# Above every duration in milliseconds, and small enough for Decimal's 28 digits with the step.
_MAX_NUMBER = Decimal(10**9)
_SMALLEST_STEP = Decimal("1e-15")
# Python itself refuses to read more than 4,300.
_MOST_DIGITS = 4_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_LATEST_MILLISECONDS = Decimal((_LATEST - _EPOCH) // timedelta(milliseconds=1))


class MalformedBody(Exception):
    """The body is not JSON that can be read. The message may be returned to the caller."""


def load(raw_body: bytes) -> object:
    """The body as JSON, its fractions as Decimal. Raises MalformedBody."""
    try:
        return json.loads(
            raw_body.decode("utf-8"),
            parse_float=Decimal,
            parse_int=_bounded_int,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise MalformedBody(f"The body is not JSON (character {error.pos}).") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except (ValueError, ArithmeticError):
        raise MalformedBody("The body is not UTF-8, or a number in it cannot be read.") from None


def value_at(value: object, *path: str) -> Any:
    """What lies at this path of objects; None if the path leads nowhere."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def clean_text(value: object, max_chars: int = MAX_TEXT_CHARS) -> str | None:
    """Text that PostgreSQL can store; None if it cannot, or is blank or too long."""
    if not isinstance(value, str) or len(value) > max_chars or not value.strip():
        return None
    return value if is_storable(value) else None


def clean_reason(value: object) -> str | None:
    return (
        clean_text(value[:MAX_REASON_CHARS], MAX_REASON_CHARS) if isinstance(value, str) else None
    )


def clean_number(value: object) -> Decimal | None:
    """A finite number. JSON's true is none; a string is how the stored form writes a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (ValueError, ArithmeticError):
        return None
    return number if number.is_finite() else None


def number_text(value: object, maximum: Decimal = _MAX_NUMBER) -> str | None:
    """A number as the stored form writes it. As text, so that reading it back makes no float."""
    number = clean_number(value)
    if number is None or not 0 <= number <= maximum:
        return None
    # Cut, not rounded: rounding happens once, to whole seconds.
    return format(abs(number.quantize(_SMALLEST_STEP, ROUND_DOWN)).normalize(), "f")


def cost_text(value: object) -> str | None:
    return number_text(value, _MAX_COST_USD)


def clean_moment(value: object) -> datetime | None:
    """A moment in UTC, from ISO 8601 (without a zone: UTC) or from milliseconds since 1970."""
    try:
        if isinstance(value, str):
            # A date without a time would pass for midnight, and make a day of a short call.
            text = clean_text(value) or ""
            moment = datetime.fromisoformat(text if ":" in text else "")
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            # Bounded before int(): written-out digits of 1e999999999 would fill the memory.
            milliseconds = min(
                max(clean_number(value) or Decimal(0), Decimal(0)), _LATEST_MILLISECONDS
            )
            moment = _EPOCH + timedelta(milliseconds=int(milliseconds))
    except (ValueError, OverflowError):
        return None
    return moment if _EARLIEST <= moment < _LATEST else None


def moment_text(value: object) -> str | None:
    moment = clean_moment(value)
    return moment.isoformat() if moment else None


def clean_control_url(value: object) -> str | None:
    """A URL that we may post to: https, or http to this very machine (the sandbox's)."""
    text = clean_text(value, MAX_CONTROL_URL_CHARS)
    # Parsers disagree about where the host ends when these occur.
    if text is None or not re.fullmatch(r"[!-~]+", text) or "\\" in text or "@" in text:
        return None
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return None
    if not host or not (
        url.scheme == "https" or (url.scheme == "http" and host in _LOOPBACK_HOSTS)
    ):
        return None
    return text


def _bounded_int(digits: str) -> int | float:
    """A whole number; one that nobody means is no number, and no reason to lose the message."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
