# SPDX-License-Identifier: Apache-2.0
"""Encodes commands and reports as JSON, and checks every field on receipt.

The format is ``["Name", [fields]]``. Both sides check what they receive, so that a bug
in one cannot make the other trust a number. The check of a field follows from its
annotation.
"""

import json
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from orchestrator.errors import HandoffError
from orchestrator.monitor.link.commands import Command
from orchestrator.monitor.link.reports import Report
from orchestrator.values.refusal import Refusal

VERSION = 8
"""Both sides belong to one installation; a mismatch means an upgrade under a running
daemon."""

Message = Command | Report

_MAX_NATURAL = 2**64 - 1
"""Fields of packets have up to 64 bits; a number without a limit could fill the log."""
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in Message.__args__}
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def _read_natural(value: object) -> int:
    # bool is a subclass of int.
    if type(value) is not int or not 0 <= value <= _MAX_NATURAL:
        raise ValueError
    return value


def _read_bool(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _read_text(value: object) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _read_list(value: object) -> list[object]:
    if type(value) is not list:
        raise ValueError
    return value


def _read_refusal(value: object) -> Refusal:
    return Refusal(_read_natural(value))


_READERS: dict[Any, Callable[[object], Any]] = {
    int: _read_natural,
    bool: _read_bool,
    str: _read_text,
    Refusal: _read_refusal,
}


def _reader_of(annotation: Any) -> Callable[[object], Any]:  # noqa: ANN401 - any type
    """Return the check of a field; created once for each annotation."""
    if annotation not in _READERS:
        _READERS[annotation] = _make_reader(annotation)
    return _READERS[annotation]


def _make_reader(annotation: Any) -> Callable[[object], Any]:  # noqa: ANN401 - any type
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple:  # tuple[X, ...]
        read = _reader_of(arguments[0])
        return lambda value: tuple(map(read, _read_list(value)))
    if isinstance(annotation, UnionType):  # X | None
        (kind,) = set(arguments) - {NoneType}
        read = _reader_of(kind)
        return lambda value: None if value is None else read(value)
    readers = [_reader_of(hint) for hint in get_type_hints(annotation).values()]

    def read_fields(value: object) -> Any:  # noqa: ANN401 - any NamedTuple
        pairs = zip(readers, _read_list(value), strict=True)
        return annotation._make(read(field) for read, field in pairs)

    return read_fields


def encode(message: Message) -> bytes:
    """Encode a message."""
    return _to_json((type(message).__name__, message)).encode()


def decode(data: bytes) -> Message:
    """Decode a message and check every field.

    Raises:
        HandoffError: an unknown message, or a field of the wrong type.
    """
    try:
        name, fields = json.loads(data)
        message: Message = _reader_of(_KINDS[name])(fields)
    except (ValueError, TypeError, LookupError, RecursionError):
        raise HandoffError(f"invalid message: {data[:200]!r}") from None
    return message
