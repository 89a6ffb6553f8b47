# SPDX-License-Identifier: Apache-2.0
"""The other ends of connected UNIX sockets, from the kernel's socket diagnosis.

The kernel identifies a socket by the inode of its descriptor. A connection that waits
in its listener's backlog has a peer without an inode.

Source: include/uapi/linux/unix_diag.h and sock_diag.h of the kernel; man 7 sock_diag.
"""

from __future__ import annotations

import socket
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLM_F_DUMP = 0x300
_UDIAG_SHOW_PEER = 4
_UNIX_DIAG_PEER = 2
_CONNECTED = 1 << 1
"""TCP_ESTABLISHED: the state of both ends since `connect`, accepted or not."""
_NO_COOKIE = (0xFFFF_FFFF, 0xFFFF_FFFF)
_ANSWER_BYTES = 65_536
"""The kernel sends a long answer in pieces of 32 KB at most."""
LIST_FROM = 64
"""Sockets from which on one listing costs less than searching for each of them. A
search passes half of the host's sockets: 0.1 ms among 12,000 of them, and listing all
of these takes sixty times as long (measured)."""

_HEADER = Struct("=IHHII")
_REQUEST = Struct("=BBHIIIII")
_WORD_BYTES = 4
_INODE = 5
"""Position of the inode in a message about a socket, in words."""
_ATTRIBUTES = 8
"""Position of its attributes; their lengths and kinds are halves of a word."""
_SOCKET = "socket:["
"""Begins the name of a socket in /proc/PID/fd, which ends with its inode and `]`."""


def find_peers(inodes: Collection[int]) -> dict[int, int]:
    """Return the inode of the other end of each connection; 0: not accepted yet.

    Connections about which the kernel reports nothing are left out: it lacks unix_diag,
    or a sandbox denies it.
    """
    try:
        peers = list_peers() if len(inodes) >= LIST_FROM else {}
        # A listing can miss a socket while others are closed.
        peers |= search_peers([inode for inode in inodes if inode not in peers])
    except OSError:
        return {}
    return {inode: peers[inode] for inode in inodes if inode in peers}


def list_peers() -> dict[int, int]:
    """Return the peers of all connections.

    Raises:
        OSError: no socket diagnosis.
    """
    peers: dict[int, int] = {}
    with _open_netlink() as netlink:
        netlink.send(_request(0, _NLM_F_REQUEST | _NLM_F_DUMP))
        while _add_peers(peers, netlink.recv(_ANSWER_BYTES)):
            pass
    return peers


def search_peers(inodes: Collection[int]) -> dict[int, int]:
    """Return the peers of some connections, one search for each.

    Raises:
        OSError: no socket diagnosis.
    """
    peers: dict[int, int] = {}
    if inodes:
        with _open_netlink() as netlink:
            for inode in inodes:
                netlink.send(_request(inode, _NLM_F_REQUEST))
                _add_peers(peers, netlink.recv(_ANSWER_BYTES))
    return peers


def find_sockets(pid: int) -> frozenset[int] | None:
    """Return the inodes of a process's sockets.

    Returns:
        None: it has ended, or its open files may not be read: CAP_DAC_OVERRIDE lists
            those of another user, and CAP_SYS_PTRACE reads what they are.
    """
    try:
        names = [_read_link(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return None
    inodes = (name[len(_SOCKET) : -1] for name in names if name.startswith(_SOCKET))
    return frozenset(map(int, inodes))


def _read_link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


def _open_netlink() -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)


def _request(inode: int, flags: int) -> bytes:
    query = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, _CONNECTED, inode, _UDIAG_SHOW_PEER, *_NO_COOKIE
    )
    size = _HEADER.size + len(query)
    return _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + query


def _add_peers(peers: dict[int, int], answer: bytes) -> bool:
    """Add the peers in one answer; return whether another one may follow."""
    words, halves = memoryview(answer).cast("I"), memoryview(answer).cast("H")
    at = 0
    while at < len(words):
        end = at + _count_words(words[at])
        if halves[2 * at + 2] != _SOCK_DIAG_BY_FAMILY:
            return False  # the end of a listing, or an error
        attribute = at + _ATTRIBUTES
        while attribute < end:
            size, kind = halves[2 * attribute], halves[2 * attribute + 1]
            if kind == _UNIX_DIAG_PEER:
                peers[words[at + _INODE]] = words[attribute + 1]
            attribute += _count_words(size)
        at = end
    return True


def _count_words(size: int) -> int:
    return max(1, -(-size // _WORD_BYTES))
