"""Lists of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.tables.sheet import Cell, Column, Look, Sheet
from cli.tables.words import NONE, count, name, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    Column(title="Errors", rank=5, is_right=True),
    Column(title="Generation", rank=4),
    Column(title="Path", rank=6),
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
        Cell(f"{c['domain']}: channel {c['number']} {why}", Look.NOTABLE)
        for c in channels
        for why in _remarks(c)
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


def _remarks(channel: Channel) -> Iterator[str]:
    if channel["reason"]:
        yield f"is {channel['state']}: {channel['reason']}"
    if reasons := channel["nack_reasons"]:
        most_first = sorted(reasons.items(), key=lambda item: -item[1])
        words = ", ".join(f"{word} {total}" for word, total in most_first)
        yield f"refused requests: {words}"


def _generation(channel: Channel) -> Cell:
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
        _generation(channel),
        NONE if path is None else Cell(printable(path), Look.QUIET),
    )
