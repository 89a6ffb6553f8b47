# SPDX-License-Identifier: Apache-2.0
"""Tables of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import NONE, count, format_time, name
from cli.output.tables.refusals import refusal_notes
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.domain import ChannelKind
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import Channel, ChannelList

_DOMAIN = Column(title="Domain", is_grouping=True)
_COLUMNS = (
    Column(title="Channel", is_right=True),
    Column(title="Kind", rank=5),
    Column(title="State"),
    Column(title="Requests", is_right=True),
    Column(title="ACK", rank=1, is_right=True),
    Column(title="NACK", is_right=True),
    Column(title="Dropped", rank=2, is_right=True),
    Column(title="Late", rank=3, is_right=True),
    Column(title="Errors", rank=6, is_right=True),
    Column(title="Unread", rank=7, is_right=True),
    Column(title="Throttled", rank=10, is_right=True),
    Column(title="Generation", rank=4),
    Column(title="Last request", rank=9),
    Column(title="Path", rank=8),
)
_STYLES = {
    "open": Style.GOOD,
    "connecting": Style.PLAIN,
    "disabled": Style.NOTABLE,
    "contended": Style.BAD,
    "refused": Style.BAD,
    "quarantined": Style.BAD,
}


def build_channels(document: ChannelList) -> tuple[Sheet, ...]:
    """List channels of many domains."""
    channels = document["channels"]
    notes = [
        f"{c['domain']}: channel {c['number']} is {c['state']}: {c['reason']}"
        for c in channels
        if c["reason"]
    ]
    by_domain: dict[str, list[Channel]] = {}
    for channel in channels:
        by_domain.setdefault(channel["domain"], []).append(channel)
    for domain, channels_of_domain in by_domain.items():
        notes += [f"{domain}: {text}" for text in refusal_notes(channels_of_domain)]
    return (
        Sheet(
            columns=(_DOMAIN, *_COLUMNS),
            rows=tuple((name(c["domain"]), *_fields(c)) for c in channels),
            notes=tuple(Cell(printable(text), Style.NOTABLE) for text in notes),
        ),
    )


def build_own_channels(channels: Iterable[Channel]) -> Sheet:
    """List the channels of one domain."""
    own = tuple(channels)
    return Sheet(
        columns=_COLUMNS,
        rows=tuple(_fields(channel) for channel in own),
        notes=tuple(Cell(text, Style.NOTABLE) for text in refusal_notes(own)),
    )


def state_cell(channel: Channel) -> Cell:
    """Show a channel's state, colored."""
    return Cell(channel["state"], _STYLES.get(channel["state"], Style.QUIET))


def is_p_states(channel: Channel) -> bool:
    """Return whether it carries P-states, which have no answers."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    return channel.get("kind") == ChannelKind.P_STATES


def count_refused(channel: Channel) -> int:
    """Return how many of its requests were refused."""
    if is_p_states(channel):
        return sum(channel["nack_reasons"].values())
    return channel["nacks_total"]


def kind_cell(channel: Channel) -> Cell:
    """Show what it carries."""
    return Cell(channel.get("kind", ChannelKind.AGENT))


def _last_request_cell(channel: Channel) -> Cell:
    when = channel.get("last_request")
    return Cell(format_time(when, None)) if when else NONE


def generation_cell(channel: Channel) -> Cell:
    """Show the size of the guest's packets, in bytes, and whether it is configured."""
    if channel["generation"] is None:
        return NONE
    how = " (configured)" if channel["generation_given"] else ""
    return Cell(f"{channel['generation']}{how}")


def _fields(channel: Channel) -> tuple[Field, ...]:
    path = channel["path"]
    has_answers = not is_p_states(channel)
    return (
        Cell(str(channel["number"])),
        kind_cell(channel),
        state_cell(channel),
        count(channel["requests_total"]),
        count(channel["acks_total"]) if has_answers else NONE,
        count(count_refused(channel), Style.BAD),
        count(channel["dropped_total"], Style.BAD) if has_answers else NONE,
        count(channel["late_total"], Style.BAD) if has_answers else NONE,
        count(channel["errors_total"], Style.BAD) if has_answers else NONE,
        count(channel["unanswered_total"]) if has_answers else NONE,
        count(channel["throttled_total"], Style.BAD),
        generation_cell(channel),
        _last_request_cell(channel),
        NONE if path is None else Cell(printable(path), Style.QUIET),
    )
