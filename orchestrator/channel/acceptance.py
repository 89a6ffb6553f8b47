# SPDX-License-Identifier: Apache-2.0
"""Connections that wait until QEMU accepts them.

`connect` succeeds as soon as there is room in the listener's backlog. QEMU serves one
client at a time and leaves a second one waiting there without notice. Acceptance causes
no event, and the kernel searches all sockets of the host to show it. So a connection is
checked with growing pauses, together with all others that are due.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.socket_peers import find_peers, find_sockets
from orchestrator.errors import EndpointContended

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection

ACCEPT_TIMEOUT_S = 0.25
"""Time for QEMU to accept. Its main loop does so within a millisecond; a guest that
boots under emulation can occupy that loop for a few tens of milliseconds."""
_FIRST_PAUSE_S = 0.001
_PAUSE_FACTOR = 3
"""Each check is so many times as long after the beginning as the one before."""


class Connection(NamedTuple):
    """A connected socket of a channel."""

    sock: socket.socket
    path: str
    begun_s: float
    """When it was connected (monotonic)."""
    qemu_pid: int | None = None
    """The process that must accept; None: not known."""


class Acceptances:
    """The connections that wait, and when each is to be checked.

    Synchronization: one thread.
    """

    def __init__(self, timeout_s: float = ACCEPT_TIMEOUT_S) -> None:
        """Begin without connections.

        Args:
            timeout_s: how long a connection may wait.
        """
        self._timeout_s = timeout_s
        self._waiting: list[tuple[float, int, Connection]] = []
        """A heap: when to check, a unique number, the connection."""
        self._numbers = itertools.count()

    @property
    def next_check_s(self) -> float | None:
        """When a check is due (monotonic); None: none waits."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, connection: Connection) -> None:
        """Let a connection wait."""
        self._check_at(connection.begun_s + _FIRST_PAUSE_S, connection)

    def take_due(self, now_s: float) -> list[Connection]:
        """Remove and return the connections that are to be checked now."""
        due = []
        while self._waiting and self._waiting[0][0] <= now_s:
            due.append(heapq.heappop(self._waiting)[2])
        return due

    def keep(self, connection: Connection, now_s: float) -> bool:
        """Check a connection again later; False: its time is over."""
        waited_s = now_s - connection.begun_s
        if waited_s >= self._timeout_s:
            return False
        self._check_at(connection.begun_s + _PAUSE_FACTOR * waited_s, connection)
        return True

    def _check_at(self, when_s: float, connection: Connection) -> None:
        heapq.heappush(self._waiting, (when_s, next(self._numbers), connection))


def find_problems(
    connections: Collection[Connection],
) -> dict[Connection, EndpointContended]:
    """Return why connections cannot be used yet; without those that can.

    It takes up to some milliseconds: the kernel searches all sockets of the host.
    """
    inodes = {it: os.fstat(it.sock.fileno()).st_ino for it in connections}
    # Data or a hang-up end the wait as well: the next user of the socket handles them.
    served = _find_readable(connections)
    unclear = [it for it in connections if it not in served or it.qemu_pid is not None]
    peers = find_peers([inodes[it] for it in unclear])
    sockets_of = cache(find_sockets)
    problems = {}
    for connection in unclear:
        peer = peers.get(inodes[connection])
        if peer == 0 and connection not in served:
            problems[connection] = _not_accepted(connection)
        elif peer and not _has_socket(connection.qemu_pid, peer, sockets_of):
            problems[connection] = _accepted_by_another(connection)
    return problems


def _find_readable(connections: Collection[Connection]) -> set[Connection]:
    """Return the connections with data, or whose other end has hung up."""
    poll = select.poll()
    by_fd = {it.sock.fileno(): it for it in connections}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return {by_fd[fd] for fd, _ in poll.poll(0)}


def _has_socket(
    pid: int | None,
    peer: int,
    sockets_of: Callable[[int], frozenset[int] | None],
) -> bool:
    """Return whether a process has a socket, or may have: not all is known."""
    sockets = None if pid is None else sockets_of(pid)
    # The kernel shows that a connection is accepted before the process has it.
    return sockets is None or peer in sockets


def _not_accepted(connection: Connection) -> EndpointContended:
    return EndpointContended(
        f"another program is connected to {connection.path}, or QEMU has not accepted"
        " yet",
        hint="end it; it may be DPDK's vm_power_manager",
    )


def _accepted_by_another(connection: Connection) -> EndpointContended:
    return EndpointContended(
        f"another process than the domain's QEMU (pid {connection.qemu_pid}) listens"
        f" at {connection.path}",
        hint="give the channel another path, or none, and libvirt chooses one",
    )
