# SPDX-License-Identifier: Apache-2.0
"""Refused requests: how many, on which channels, for what reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cli.output.tables.cells import format_time, plural
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
    found: dict[tuple[str, str], list[Channel]] = {}
    for channel in channels:
        for reason in channel["nack_reasons"]:
            cause = channel["nack_causes"].get(reason, "")
            found.setdefault((reason, cause), []).append(channel)
    refusals = [
        Refusals(
            sum(channel["nack_reasons"][reason] for channel in refusing),
            _describe(refusing, reason, cause),
        )
        for (reason, cause), refusing in found.items()
    ]
    return sorted(refusals, key=lambda one: -one.requests)


def _describe(channels: list[Channel], reason: str, cause: str) -> str:
    names = name_all("channel", (channel["number"] for channel in channels))
    when = last_refused(channels, reason)
    last = f", last {format_time(when, None)}" if when else ""
    return printable(f"{names} ({reason}{last}){f': {cause}' if cause else ''}")


def last_refused(channels: Iterable[Channel], reason: str) -> str:
    """Return when a request was last refused for a reason; empty: not known."""
    times = (channel.get("nack_last", {}).get(reason, "") for channel in channels)
    return max(times, default="")


def refusal_notes(channels: Iterable[Channel]) -> list[str]:
    """Describe refused requests in sentences."""
    return [
        f"{plural(one.requests, 'request')} refused on {one.description}"
        for one in list_refusals(channels)
    ]
