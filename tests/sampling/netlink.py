# SPDX-License-Identifier: Apache-2.0
"""rtnetlink's answers about interfaces, composed as the kernel composes them.

Source: rtnl_fill_ifinfo() and rtnl_fill_vfinfo() of net/core/rtnetlink.c, Linux 6.1:
the attributes of a virtual function, their order and their sizes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

RTM_NEWLINK, NLMSG_ERROR = 16, 2
_IFLA_IFNAME, _IFLA_NUM_VF, _IFLA_VFINFO_LIST = 3, 21, 22
_IFLA_VF_INFO = 1


class Function(NamedTuple):
    """A virtual function as its driver describes it."""

    number: int
    mac: str
    received: int | None
    """None: its driver counts nothing."""


def attribute(kind: int, data: bytes) -> bytes:
    header = struct.pack("=HH", len(data) + 4, kind)
    return header + data + bytes(-len(data) % 4)


def answer(index: int, name: str, functions: list[Function]) -> bytes:
    """Compose the answer about one physical function."""
    listing = b"".join(
        # These containers carry no nesting flag (nla_nest_start_noflag).
        attribute(_IFLA_VF_INFO, _describe(function))
        for function in functions
    )
    payload = b"".join(
        [
            struct.pack("=BxHiII", 0, 1, index, 0x11043, 0),
            attribute(_IFLA_IFNAME, name.encode() + b"\0"),
            attribute(_IFLA_NUM_VF, struct.pack("=I", len(functions))),
            attribute(_IFLA_VFINFO_LIST, listing),
        ]
    )
    return _message(RTM_NEWLINK, payload)


def refusal(errno: int) -> bytes:
    """Compose the answer to a question about an interface that is not there."""
    question = struct.pack("=IHHII", 40, 18, 1, 0, 0)
    return _message(NLMSG_ERROR, struct.pack("=i", -errno) + question)


def _message(kind: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, 0, 4242) + payload


def _describe(function: Function) -> bytes:
    number, mac = function.number, bytes.fromhex(function.mac.replace(":", ""))
    parts = [
        attribute(1, struct.pack("=I32s", number, mac)),  # MAC
        attribute(13, bytes(32)),  # BROADCAST
        attribute(2, struct.pack("=III", number, 0, 0)),  # VLAN
        attribute(6, struct.pack("=III", number, 0, 0)),  # RATE
        attribute(3, struct.pack("=II", number, 0)),  # TX_RATE
        attribute(4, struct.pack("=II", number, 1)),  # SPOOFCHK
        attribute(5, struct.pack("=II", number, 0)),  # LINK_STATE
        attribute(7, struct.pack("=II", number, 0)),  # RSS_QUERY_EN
        attribute(9, struct.pack("=II", number, 0)),  # TRUST
        attribute(12, attribute(1, struct.pack("=IIIH2x", number, 0, 0, 0x0081))),
    ]
    if function.received is not None:
        values = (function.received, 7, 64 * function.received, 448, 1, 2)
        counters = b"".join(
            attribute(kind, struct.pack("=Q", value))
            for kind, value in enumerate(values)
        )
        parts.append(attribute(8, counters))  # STATS
    return b"".join(parts)
