"""Lists of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.refusals import refusal_words
from cli.output.tables.sheet import Cell, Column, Look, Sheet
from cli.output.tables.words import NONE, count, name
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import Channel, ChannelList

_DOMAIN = Column(title="Domain", is_grouping=True)
_COLUMNS = (
    Column(title="Channel", is_right=True),
    Column(title="State"),
    Column(title="Requests", is_right=True),
    Column(title="ACK", rank=1, is_right=True),
    Column(title="NACK", is_right=True),
    Column(title="Dropped", rank=2, is_right=True),
    Column(title="Late", rank=3, is_right=True),
    Column(title="Errors", rank=5, is_right=True),
    Column(title="Unread", rank=6, is_right=True),
    Column(title="Generation", rank=4),
    Column(title="Path", rank=7),
)
_LOOKS = {
    "open": Look.GOOD,
    "connecting": Look.PLAIN,
    "disabled": Look.NOTABLE,
    "contended": Look.BAD,
    "refused": Look.BAD,
}


def build_channels(document: ChannelList) -> tuple[Sheet, ...]:
    """List channels of many domains."""
    channels = document["channels"]
    notes = [
        f"{c['domain']}: channel {c['number']} is {c['state']}: {c['reason']}"
        for c in channels
        if c["reason"]
    ]
    own: dict[str, list[Channel]] = {}
    for channel in channels:
        own.setdefault(channel["domain"], []).append(channel)
    for domain, theirs in own.items():
        notes += [f"{domain}: {words}" for words in refusal_words(theirs)]
    return (
        Sheet(
            columns=(_DOMAIN, *_COLUMNS),
            rows=tuple((name(c["domain"]), *_fields(c)) for c in channels),
            notes=tuple(Cell(printable(words), Look.NOTABLE) for words in notes),
        ),
    )


def build_own_channels(channels: Iterable[Channel]) -> Sheet:
    """List the channels of one domain."""
    own = tuple(channels)
    return Sheet(
        columns=_COLUMNS,
        rows=tuple(_fields(channel) for channel in own),
        notes=tuple(Cell(words, Look.NOTABLE) for words in refusal_words(own)),
    )


def channel_state(channel: Channel) -> Cell:
    """Write a channel's state in its colour."""
    return Cell(channel["state"], _LOOKS.get(channel["state"], Look.QUIET))


def generation(channel: Channel) -> Cell:
    """Write the bytes of a guest's packets, and if an operator said so."""
    if channel["generation"] is None:
        return NONE
    how = " (given)" if channel["generation_given"] else ""
    return Cell(f"{channel['generation']}{how}")


def _fields(channel: Channel) -> tuple[Field, ...]:
    path = channel["path"]
    return (
        Cell(str(channel["number"])),
        channel_state(channel),
        count(channel["requests_total"]),
        count(channel["acks_total"]),
        count(channel["nacks_total"], Look.BAD),
        count(channel["dropped_total"], Look.BAD),
        count(channel["late_total"], Look.BAD),
        count(channel["errors_total"], Look.BAD),
        count(channel["unanswered_total"]),
        generation(channel),
        NONE if path is None else Cell(printable(path), Look.QUIET),
    )
