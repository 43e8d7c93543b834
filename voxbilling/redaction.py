"""What must not leave this program in a log or an error report is replaced here, for both.

Secrets are known by the name that they travel under, by their shape, and the deployment's own by
their value. Callers' numbers and people's addresses are personal data, and go the same way.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

REDACTED = "[redacted]"

# Names under which secrets and callers' words travel. A value under one is replaced.
_SECRET_NAME = re.compile(
    r"secret|token|passw(or)?d|authorization|api[_-]?key|signature|cookie|control[_-]?url|transcript"
    r"|prompt",
    re.I,
)
_SHAPES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\b(bearer|basic) +[\w.~+/=-]{6,}", re.I), rf"\1 {REDACTED}"),
    # Of databases and brokers: with a password.
    (re.compile(r"\b([a-z][\w+]*)://[^\s/@\"'\\]+@", re.I), rf"\1://{REDACTED}@"),
    # JSON Web Tokens, Stripe's keys, the tokens of Django's links to set a password.
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), REDACTED),
    (re.compile(r"\b(sk|rk|whsec)_\w{6,}"), REDACTED),
    (re.compile(r"\b(?:pi|seti|cs)_\w+_secret_\w+"), REDACTED),
    # Control addresses, also without their scheme.
    (re.compile(r"(?<![:\w])//([\w-]+(?:\.[\w-]+)+)/[^\s\"'\\<>)]+"), r"//\1/…"),
    (re.compile(r"\b[0-9a-z]{6,7}-[0-9a-f]{32}\b"), REDACTED),
    (
        re.compile(
            r"\b([\w-]*(?:secret|token|passw(?:or)?d|signature|authorization|api[_-]?key))"
            r"(\\*[\"']?\s*[=:]\s*\\*[\"']?)(?:(?:token|basic|bearer|digest) +)?"
            r"(?!\[redacted\])[^\s\"'\\,&;)}\]]+",
            re.I,
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"(?:\+|%2B)\(?\d(?:[ .()-]{0,2}\d){6,16}\b"), "[phone number]"),
    # As people write them without a plus: from abroad, and in the United Kingdom.
    (re.compile(r"(?<![\w.:+/-])00[1-9]\d{8,13}\b"), "[phone number]"),
    (
        re.compile(r"(?<![\w.:+/-])0[1-9](?:\d{8,9}|\d{2,3} \d{3} ?\d{3,4}|\d \d{4} \d{4})\b"),
        "[phone number]",
    ),
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), "[address]"),
]
# PostgreSQL shows the row that it refuses: to the end of the line.
_ROW = re.compile(r"Failing row contains \([^\n]*")
# Within JSON, to the end of its text: the next quote that no backslash stands before.
_ROW_IN_JSON = re.compile(r"Failing row contains \((?:\\.|[^\n\"\\])*")
_NO_ROW = f"Failing row contains {REDACTED}"

# Addresses can be secrets in themselves: control URLs, pages of Stripe's, links to set a password.
_URL = re.compile(r"\b(?:https?|wss?)://[^\s\"'\\<>)]+", re.I)
# What is shorter would be found in words that are no secrets.
_SHORTEST_SECRET = 8

_own_secrets: re.Pattern[str] | None = None


def keep_secret(values: Iterable[str]) -> None:
    """From now on replace these wherever they stand: the deployment's own keys and passwords."""
    global _own_secrets
    long_ones = {value for value in values if len(value) >= _SHORTEST_SECRET}
    # Also as JSON writes them, which providers' answers and refused settings can be texts of.
    in_json = {
        json.dumps(value, ensure_ascii=plain)[1:-1]
        for value in long_ones
        for plain in (True, False)
    }
    known = sorted(long_ones | in_json, key=len)
    # The longest first: one may be part of another.
    _own_secrets = re.compile("|".join(map(re.escape, reversed(known)))) if known else None


def redact_text(text: str) -> str:
    """The text without secrets, and without anything but the host of a web address."""
    return _without_shapes(_ROW.sub(_NO_ROW, text))


def redact_json(text: str) -> str:
    """A line of JSON without what `redact` did not find in its values before; it stays JSON."""
    return _without_shapes(_ROW_IN_JSON.sub(_NO_ROW, text))


def _without_shapes(text: str) -> str:
    if _own_secrets is not None:
        text = _own_secrets.sub(REDACTED, text)
    text = _URL.sub(lambda found: _host_only(found.group()), text)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def redact_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, those whose name says that they are secret replaced, at any depth."""
    return {
        name: REDACTED if _SECRET_NAME.search(str(name)) else _redact_within(value)
        for name, value in values.items()
    }


def redact(value: Any) -> Any:
    """The same value with every text in it redacted, and what is named as a secret, too."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {name: redact(inner) for name, inner in redact_names(value).items()}
    if isinstance(value, (list, tuple)):
        return [redact(inner) for inner in value]
    return value


def _redact_within(value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact_names(value)
    if isinstance(value, (list, tuple)):
        return [_redact_within(inner) for inner in value]
    return value


def _host_only(url: str) -> str:
    try:
        parts = urlsplit(url)
        shown = f"{parts.scheme}://{parts.hostname}"
    except ValueError:
        return REDACTED
    return shown if parts.path in ("", "/") and not parts.query else f"{shown}/…"
