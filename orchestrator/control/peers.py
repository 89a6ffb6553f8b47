"""Who is at the other end of a UNIX socket, by the kernel's word.

Source: man 7 unix (SO_PEERCRED).
"""

from __future__ import annotations

import socket
import struct

from orchestrator.control.service import Peer

_UCRED = struct.Struct("3i")


def peer_of(sock: socket.socket) -> Peer:
    """Return who connected; asyncio's own view of a socket will do, too.

    Raises:
        OSError: the socket is closed.
    """
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(packed))
