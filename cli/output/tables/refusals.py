# SPDX-License-Identifier: Apache-2.0
"""Refused requests: how many, on which channels, for what reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cli.output.tables.cells import plural
from orchestrator.values.cpuset import name_all
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Channel


class Refusals(NamedTuple):
    """Requests that were refused for the same reason."""

    requests: int
    description: str
    """`channels 0-3 (no-vcpu): it named vCPU 7`."""


def list_refusals(channels: Iterable[Channel]) -> list[Refusals]:
    """Group refused requests by reason and cause, the most frequent first."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for channel in channels:
        for reason, count in channel["nack_reasons"].items():
            cause = channel["nack_causes"].get(reason, "")
            found.setdefault((reason, cause), []).append((channel["number"], count))
    refusals = [
        Refusals(
            sum(count for _, count in counts),
            _describe(name_all("channel", (number for number, _ in counts)), *why),
        )
        for why, counts in found.items()
    ]
    return sorted(refusals, key=lambda one: -one.requests)


def _describe(channels: str, reason: str, cause: str) -> str:
    details = f": {cause}" if cause else ""
    return printable(f"{channels} ({reason}){details}")


def refusal_notes(channels: Iterable[Channel]) -> list[str]:
    """Describe refused requests in sentences."""
    return [
        f"{plural(one.requests, 'request')} refused on {one.description}"
        for one in list_refusals(channels)
    ]
