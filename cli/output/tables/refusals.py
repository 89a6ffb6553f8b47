"""Refused requests in words: how many, of which channels, for which cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cli.output.tables.words import (
    plural,
)
from orchestrator.values.cpuset import name_all
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Channel


class Refused(NamedTuple):
    """Requests that were refused for one cause."""

    requests: int
    words: str
    """`channels 0-3 (no-vcpu): it named vCPU 7`."""


def list_refusals(channels: Iterable[Channel]) -> list[Refused]:
    """Put together what was refused for the same cause, most first."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for channel in channels:
        for reason, count in channel["nack_reasons"].items():
            cause = channel["nack_causes"].get(reason, "")
            found.setdefault((reason, cause), []).append((channel["number"], count))
    refused = [
        Refused(
            sum(count for _, count in counts),
            _words(name_all("channel", (number for number, _ in counts)), *why),
        )
        for why, counts in found.items()
    ]
    return sorted(refused, key=lambda one: -one.requests)


def _words(channels: str, reason: str, cause: str) -> str:
    because = f": {cause}" if cause else ""
    return printable(f"{channels} ({reason}){because}")


def refusal_words(channels: Iterable[Channel]) -> list[str]:
    """Say the same in sentences."""
    return [
        f"refused {plural(one.requests, 'request')} of {one.words}"
        for one in list_refusals(channels)
    ]
