"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Keeps it from working."""
    WARNING = "warning"
    """It works, but not as somebody may expect."""
    INFO = "info"
    """Good to know; nothing to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found."""

    severity: Severity
    subject: str
    """What it is about: CPUs, a domain, a path."""
    what: str
    """One sentence without a full stop."""
    cure: str = ""
    """What to do about it; empty: nothing."""
    check: str = ""
    """Name of the check, stable for programs; whoever runs the check fills it in."""


def error(subject: str, what: str, cure: str) -> Finding:
    """Make a finding that keeps vmpower from working."""
    return Finding(severity=Severity.ERROR, subject=subject, what=what, cure=cure)


def warning(subject: str, what: str, cure: str) -> Finding:
    """Make a finding that surprises somebody."""
    return Finding(severity=Severity.WARNING, subject=subject, what=what, cure=cure)


def info(subject: str, what: str, cure: str = "") -> Finding:
    """Make a finding that is good to know."""
    return Finding(severity=Severity.INFO, subject=subject, what=what, cure=cure)
