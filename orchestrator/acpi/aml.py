# SPDX-License-Identifier: Apache-2.0
"""Encodes the parts of the ACPI Machine Language that tables for guests consist of.

Each function returns bytes. Every argument of type bytes is encoded already.

Source: ACPI specification 6.5, chapter 20 ("ACPI Machine Language (AML)
Specification"), 5.2.6 (the header) and 6.4.3.7 (Generic Register Descriptor).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_ZERO, _ONE, _BYTE, _WORD, _DWORD = b"\x00", b"\x01", b"\x0a", b"\x0b", b"\x0c"
_NAME, _SCOPE, _BUFFER, _PACKAGE = b"\x08", b"\x10", b"\x11", b"\x12"
_STORE, _IF, _COND_REF_OF = b"\x70", b"\xa0", b"\x5b\x12"
_ROOT, _DUAL_NAME, _MULTI_NAME = b"\\", b"\x2e", b"\x2f"
_NULL_TARGET = b"\x00"
_SYSTEM_IO = 1
_GENERIC_REGISTER, _REGISTER_BYTES = 0x82, 0x0C
_END_TAG = b"\x79\x00"
"""Its checksum is 0, which readers take as correct."""
_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_CHECKSUM_OFFSET = 9
_REVISION = 2
"""Integers of such tables have 64 bits."""
_SEGMENT_BYTES = 4


class TableIdentity(NamedTuple):
    """What the header of a table says about its origin."""

    signature: bytes
    oem: bytes
    """At most 6 bytes."""
    oem_table: bytes
    """At most 8 bytes."""
    creator: bytes
    """4 bytes."""
    oem_revision: int = 1
    creator_revision: int = 1


def build_table(identity: TableIdentity, body: bytes) -> bytes:
    """Put the header before the body, with the checksum of both."""
    header = _HEADER.pack(
        identity.signature,
        _HEADER.size + len(body),
        _REVISION,
        0,
        identity.oem,
        identity.oem_table,
        identity.oem_revision,
        identity.creator,
        identity.creator_revision,
    )
    table = bytearray(header + body)
    table[_CHECKSUM_OFFSET] = -sum(table) % 256
    return bytes(table)


def integer(value: int) -> bytes:
    """Encode an integer of 32 bits at most, in the shortest form."""
    if value < 2:
        return (_ZERO, _ONE)[value]
    if value < 1 << 8:
        return _BYTE + struct.pack("<B", value)
    if value < 1 << 16:
        return _WORD + struct.pack("<H", value)
    return _DWORD + struct.pack("<I", value)


def name_string(path: str) -> bytes:
    r"""Encode a path such as `\_SB.CPUS.C000`, or a single name."""
    segments = path.removeprefix("\\").split(".")
    names = b"".join(it.ljust(_SEGMENT_BYTES, "_").encode("ascii") for it in segments)
    prefix = {1: b"", 2: _DUAL_NAME}.get(
        len(segments), _MULTI_NAME + bytes([len(segments)])
    )
    return _ROOT * path.startswith("\\") + prefix + names


def declare_name(name: str, value: bytes) -> bytes:
    """Declare an object with a value."""
    return _NAME + name_string(name) + value


def scope(path: str, *terms: bytes) -> bytes:
    """Put terms into the scope of an object that exists."""
    return _sized(_SCOPE, name_string(path), *terms)


def package(elements: Iterable[bytes]) -> bytes:
    """Encode a list of up to 255 values."""
    values = tuple(elements)
    return _sized(_PACKAGE, bytes([len(values)]), *values)


def buffer(data: bytes) -> bytes:
    """Encode a buffer that holds bytes."""
    return _sized(_BUFFER, integer(len(data)), data)


def io_register(address: int, bits: int) -> bytes:
    """Encode a resource template with one register in I/O space."""
    descriptor = struct.pack(
        "<BHBBBBQ", _GENERIC_REGISTER, _REGISTER_BYTES, _SYSTEM_IO, bits, 0, 0, address
    )
    return buffer(descriptor + _END_TAG)


def if_exists(path: str, *terms: bytes) -> bytes:
    """Run terms if there is an object of this path."""
    predicate = _COND_REF_OF + name_string(path) + _NULL_TARGET
    return _sized(_IF, predicate, *terms)


def store(value: bytes, path: str) -> bytes:
    """Store a value into an object."""
    return _STORE + value + name_string(path)


def _sized(opcode: bytes, *parts: bytes) -> bytes:
    """Join an opcode, the length of what follows, and that."""
    content = b"".join(parts)
    return opcode + _package_length(len(content)) + content


def _package_length(content: int) -> bytes:
    """Encode a length, which counts its own bytes."""
    if content + 1 < 1 << 6:
        return bytes([content + 1])
    further = next(
        count for count in (1, 2, 3) if content + 1 + count < 1 << 4 + 8 * count
    )
    length = content + 1 + further
    low, rest = length & 0xF, length >> 4
    return bytes([further << 6 | low]) + rest.to_bytes(further, "little")
