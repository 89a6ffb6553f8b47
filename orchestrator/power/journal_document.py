# SPDX-License-Identifier: Apache-2.0
"""The restore journal as bytes: JSON that is validated before it is used.

It determines which files root writes. So a clock group's entries may name only
attributes in its own directory, and of these only those that a mechanism restores:
a journal cannot be misused to write elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from orchestrator.power.group import Original
from orchestrator.power.mechanisms.registry import ORIGINALS
from orchestrator.power.sysfs import MAX_VALUE_BYTES, policy_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    Permit = Callable[[int, str], bool]
    """Returns whether the entries under a number may name a path."""

_T = TypeVar("_T")

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Contents of a journal."""

    tree: str
    """The real path of the CPU tree's root."""
    boot_id: str
    groups: Mapping[int, tuple[Original, ...]]
    """By clock group; originals are in the order of restoring."""
    drivers: Mapping[int, str] = field(default_factory=dict)
    """The scaling driver of each clock group, as far as it is known."""


def encode_document(document: Document) -> bytes:
    """Encode a document as the bytes of the file, readable by people."""
    groups = {
        str(number): [_encode_original(original) for original in originals]
        for number, originals in sorted(document.groups.items())
    }
    content = {
        "schema": SCHEMA,
        "boot_id": document.boot_id,
        "tree": document.tree,
        "drivers": {str(n): name for n, name in sorted(document.drivers.items())},
        "groups": groups,
    }
    return json.dumps(content, indent=1).encode("ascii") + b"\n"


def _encode_original(original: Original) -> dict[str, str]:
    # Latin-1 preserves every byte.
    entry = {"path": original.path, "value": original.value.decode("latin-1")}
    if original.taken_value:
        entry["ours"] = original.taken_value.decode("latin-1")
    return entry


def is_attribute_of(number: int, path: str, names: Collection[str]) -> bool:
    """Whether a path is one of these attributes of a clock group, and no other file."""
    return any(path == policy_path(number, name) for name in names)


def decode_document(
    data: bytes,
    is_permitted: Permit = lambda number, path: is_attribute_of(
        number, path, ORIGINALS
    ),
) -> Document:
    """Decode and validate a document.

    Args:
        data: the bytes of the file.
        is_permitted: which files it may restore; those of scaling drivers by default.

    Raises:
        ValueError: not a valid journal.
    """
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    content = _expect(content, dict, "the document")
    if content.get("schema") != SCHEMA:
        raise ValueError(f"schema {content.get('schema')!r}, expected {SCHEMA}")
    groups = _expect(content.get("groups"), dict, "groups")
    drivers = _expect(content.get("drivers", {}), dict, "drivers")
    return Document(
        tree=_expect(content.get("tree"), str, "tree"),
        boot_id=_expect(content.get("boot_id"), str, "boot_id"),
        groups=dict(_decode_group(*item, is_permitted) for item in groups.items()),
        drivers={
            _decode_number(word): _expect(name, str, "a driver")
            for word, name in drivers.items()
        },
    )


def _decode_group(
    word: str, entries: object, is_permitted: Permit
) -> tuple[int, tuple[Original, ...]]:
    number = _decode_number(word)
    listed = _expect(entries, list, "a clock group")
    originals = tuple(map(_decode_original, listed))
    for original in originals:
        if not is_permitted(number, original.path):
            raise ValueError(
                f"path {original.path!r} is not an attribute that vmpowerd sets"
            )
    return number, originals


def _decode_number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and word == str(int(word))):
        raise ValueError(f"invalid clock group {word!r}")
    return int(word)


def _decode_original(entry: object) -> Original:
    fields = _expect(entry, dict, "an original")
    path = _expect(fields.get("path"), str, "path")
    value = _expect(fields.get("value"), str, "value").encode("latin-1")
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"the value of {path} is too long")
    taken_value = _expect(fields.get("ours", ""), str, "ours").encode("latin-1")
    return Original(path=path, value=value, taken_value=taken_value)


def _expect(value: object, kind: type[_T], name: str) -> _T:
    if not isinstance(value, kind):
        raise ValueError(  # noqa: TRY004 - the bytes are wrong, not the caller
            f"{name}: expected {kind.__name__}, got {type(value).__name__}"
        )
    return value
