"""What the control API needs from the daemon."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orchestrator.control.models import (
        Channel,
        Cpu,
        Domain,
        EventRecord,
        OutcomeList,
        Policy,
        Status,
    )
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.values.domain import DomainId, PCpu


class Peer(NamedTuple):
    """The process at the other end of a control socket, as the kernel vouches.

    Source: unix(7), SO_PEERCRED: the credentials at the time of connect().
    """

    pid: int
    uid: int
    gid: int


class ControlBackend(Protocol):
    """The daemon, seen from its API.

    The server looks domains up by UUID, name or id and checks channels and CPUs
    against `status()` first; a backend still refuses what vanished meanwhile.
    Synchronization: the asyncio thread only.
    """

    async def status(self) -> Status:
        """Return the whole picture, none of it older than the call."""
        ...

    async def override(self, pcpu: PCpu, khz: int, *, who: Peer) -> Cpu:
        """Fix the clock of the clock group of a CPU until it is released.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now.
        """
        ...

    async def release(self, pcpu: PCpu, *, who: Peer) -> Cpu:
        """Give the clock group back to its votes; without an override, do nothing.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now.
        """
        ...

    async def switch_channel(
        self, uuid: DomainId, number: int, *, is_enabled: bool, who: Peer
    ) -> Channel:
        """Let a channel take part, or keep it out; doing it twice is no error.

        Raises:
            ControlError: 404 unknown domain or channel; 409 not possible now.
        """
        ...

    async def set_policy(
        self, uuid: DomainId, name: str, rule: PolicyRule, *, who: Peer
    ) -> Policy:
        """Give a domain a policy, in place of the one of this name.

        Raises:
            ControlError: 404 unknown domain; 409 it cannot be had.
        """
        ...

    async def remove_policy(self, uuid: DomainId, name: str, *, who: Peer) -> Domain:
        """End a policy of `set_policy`.

        Raises:
            ControlError: 404 unknown domain or policy.
        """
        ...

    async def instruct(self, text: str, cpu: int | None, *, who: Peer) -> OutcomeList:
        """Do what messages for DPDK's vm_power_manager ask for, in their order.

        Raises:
            ControlError: 503 the daemon is stopping.
        """
        ...

    def events(
        self, *, follow: bool, clocks: bool = True
    ) -> AsyncGenerator[EventRecord, None]:
        """Give the recent events, oldest first, and with `follow` the coming ones.

        Without `clocks` no event says that a clock changed, and nobody looks for it.
        The generator must be closable at any await (`aclose`), and may end by itself.
        """
        ...


_UCRED = struct.Struct("3i")


def peer_of(sock: socket.socket) -> Peer:
    """Return who connected; asyncio's own view of a socket will do, too.

    Raises:
        OSError: the socket is closed.
    """
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(packed))
