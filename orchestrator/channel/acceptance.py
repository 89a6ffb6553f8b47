# SPDX-License-Identifier: Apache-2.0
"""Whether, and in which process, the listener of a UNIX socket accepted a connection.

`connect` succeeds as soon as there is room in the listener's backlog. QEMU serves one
client at a time and leaves a second one waiting there without notice. The kernel's
socket diagnosis shows such a connection with a peer that has no inode yet.

Source: include/uapi/linux/unix_diag.h and sock_diag.h of the kernel; man 7 sock_diag.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from struct import Struct

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_UDIAG_SHOW_PEER = 4
_UNIX_DIAG_PEER = 2
_ANY_STATE = 0xFFFF_FFFF
_NO_COOKIE = (0xFFFF_FFFF, 0xFFFF_FFFF)
_ANSWER_BYTES = 8_192

_NETLINK_HEADER = Struct("=IHHII")
_REQUEST = Struct("=BBHIIIII")
_ATTRIBUTES_OFFSET = _NETLINK_HEADER.size + 16
_ATTRIBUTE = Struct("=HH")
_INODE = Struct("=I")


def is_accepted(sock: socket.socket) -> bool | None:
    """Whether a connected UNIX socket has been accepted.

    Returns:
        None: unknown, the kernel lacks unix_diag or a sandbox denies it.
    """
    peer = _read_peer(sock)
    return None if peer is None else peer != 0


def is_accepted_by(sock: socket.socket, pid: int) -> bool | None:
    """Whether a process has the other end of a connected UNIX socket.

    Returns:
        None: unknown; in addition to `is_accepted`, the process ended, or its open
            files may not be read.
    """
    peer = _read_peer(sock)
    if not peer:
        return None
    name = Path(f"socket:[{peer}]")
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            if descriptor.readlink() == name:
                return True
    return False


def _read_peer(sock: socket.socket) -> int | None:
    """Return the inode of the other end; 0: not accepted, None: unknown."""
    inode = os.fstat(sock.fileno()).st_ino
    try:
        return _peer_inode(_query(inode))
    except OSError:
        return None


def _query(inode: int) -> bytes:
    query = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, _ANY_STATE, inode, _UDIAG_SHOW_PEER, *_NO_COOKIE
    )
    header = _NETLINK_HEADER.pack(
        _NETLINK_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0
    )
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(header + query)
        return netlink.recv(_ANSWER_BYTES)


def _peer_inode(answer: bytes) -> int | None:
    length, kind, *_ = _NETLINK_HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        return None
    offset = _ATTRIBUTES_OFFSET
    while offset + _ATTRIBUTE.size <= length:
        size, name = _ATTRIBUTE.unpack_from(answer, offset)
        if name == _UNIX_DIAG_PEER:
            return int(_INODE.unpack_from(answer, offset + _ATTRIBUTE.size)[0])
        offset += (size + 3) & ~3
    return None
