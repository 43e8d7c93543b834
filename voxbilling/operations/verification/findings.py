"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Each is the mark that its line begins with."""

    OK = "✓"
    WARNING = "!"
    FAILED = "✗"


@dataclass(frozen=True)
class Finding:
    """One line: how something is, and whether it may be so."""

    verdict: Verdict
    subject: str
    text: str

    @property
    def is_failure(self) -> bool:
        return self.verdict is Verdict.FAILED

    def __str__(self) -> str:
        return f"{self.verdict} {self.subject}: {self.text}"


def ok(subject: str, text: str) -> Finding:
    return Finding(Verdict.OK, subject, text)


def warning(subject: str, text: str) -> Finding:
    return Finding(Verdict.WARNING, subject, text)


def failed(subject: str, text: str) -> Finding:
    return Finding(Verdict.FAILED, subject, text)
