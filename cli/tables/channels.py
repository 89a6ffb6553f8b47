"""Lists of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.tables.sheet import Cell, Column, Look, Sheet
from cli.tables.words import NONE, count, name, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.tables.sheet import Field
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
    Column(title="Errors", rank=4, is_right=True),
    Column(title="Path", rank=5),
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
    notes = (
        Cell(f"{c['domain']}: channel {c['number']} {_why(c)}", Look.NOTABLE)
        for c in channels
        if c["reason"]
    )
    return (
        Sheet(
            columns=(_DOMAIN, *_COLUMNS),
            rows=tuple((name(c["domain"]), *_fields(c)) for c in channels),
            notes=tuple(Cell(printable(n.text), n.look) for n in notes),
        ),
    )


def build_own_channels(channels: Iterable[Channel]) -> Sheet:
    """List the channels of one domain."""
    return Sheet(columns=_COLUMNS, rows=tuple(_fields(c) for c in channels))


def channel_state(channel: Channel) -> Cell:
    """Write a channel's state in its colour."""
    return Cell(channel["state"], _LOOKS.get(channel["state"], Look.QUIET))


def _why(channel: Channel) -> str:
    return f"is {channel['state']}: {channel['reason']}"


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
        NONE if path is None else Cell(printable(path), Look.QUIET),
    )
