# SPDX-License-Identifier: Apache-2.0
"""What the control API requires of the daemon, and what it knows of a client."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from orchestrator.control.feed import EventSelection
    from orchestrator.control.models import (
        CalibrationRequest,
        Channel,
        Cpu,
        Domain,
        Energy,
        EventRecord,
        History,
        OutcomeList,
        PolicyAnswer,
        Status,
    )
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.values.domain import DomainId, PCpu


class Peer(NamedTuple):
    """The process at the other end of a control socket, as reported by the kernel.

    Source: unix(7), SO_PEERCRED: the credentials at the time of connect().
    """

    pid: int
    uid: int
    gid: int


class Exposition(NamedTuple):
    """Metrics as text."""

    body: bytes
    content_type: str
    """With its parameters, for the HTTP header."""


class HistorySelection(NamedTuple):
    """Which part of the history a client requests."""

    since: datetime
    until: datetime
    step_s: int
    """Length of each part."""
    domain: str = ""
    """ID, UUID or name; empty: all."""
    is_per_domain: bool = True
    """False: the sums of all domains."""


class ControlBackend(Protocol):
    """The daemon as the API uses it.

    The server looks domains up by UUID, name or ID and checks channels and CPUs
    against `status()` first; a backend still rejects what has disappeared since.
    `who` is the client that requests a change, for the log.
    Synchronization: the asyncio thread only.
    """

    async def status(self) -> Status:
        """Return the status of everything, none of it older than the call."""
        ...

    async def metrics(self, accept: str) -> Exposition:
        """Return all metrics for Prometheus, without reading files or calling libvirt.

        Args:
            accept: the client's Accept header, which chooses the format.
        """
        ...

    async def override(self, pcpu: PCpu, khz: int, *, who: Peer) -> Cpu:
        """Set the frequency of a CPU's clock group until it is released.

        Args:
            pcpu: a CPU of the group.
            khz: rounded up to a step within the host's and the kernel's bounds.
            who: the client.

        Raises:
            ControlError: 404 unknown CPU; 409 its frequency cannot be set now.
        """
        ...

    async def retake(self, pcpu: PCpu, *, who: Peer) -> Cpu:
        """Take a clock group back from another program; else do nothing.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now; 503 stopping.
        """
        ...

    async def release(self, pcpu: PCpu, *, who: Peer) -> Cpu:
        """Release the clock group to its votes; without an override, do nothing.

        Raises:
            ControlError: 404 unknown CPU; 409 its frequency cannot be set now.
        """
        ...

    async def switch_channel(
        self, uuid: DomainId, number: int, *, is_enabled: bool, who: Peer
    ) -> Channel:
        """Enable or disable a channel; repeating it is not an error.

        Raises:
            ControlError: 404 unknown domain or channel; 409 not possible now.
        """
        ...

    async def set_policy(
        self, uuid: DomainId, name: str, rule: PolicyRule, *, who: Peer
    ) -> PolicyAnswer:
        """Set a policy for a domain, replacing the one of this name.

        Raises:
            ControlError: 404 unknown domain; 409 it cannot be applied.
        """
        ...

    async def remove_policy(self, uuid: DomainId, name: str, *, who: Peer) -> Domain:
        """Remove a policy that `set_policy` has set.

        Raises:
            ControlError: 404 unknown domain or policy.
        """
        ...

    async def energy(self) -> Energy:
        """Return the accounting of energy."""
        ...

    async def calibrate(self, measured: CalibrationRequest, *, who: Peer) -> Energy:
        """Use what was measured from now on, also after restarts.

        Raises:
            ControlError: 409 it is of no use here; 503 stopping.
        """
        ...

    async def instruct(self, text: str, cpu: int | None, *, who: Peer) -> OutcomeList:
        """Execute JSON messages for DPDK's vm_power_manager, in their order.

        Args:
            text: the messages.
            cpu: host CPU whose FIFO they are written for; None: they name CPUs.
            who: the client.

        Raises:
            ControlError: 503 the daemon is stopping.
        """
        ...

    async def history(self, selection: HistorySelection) -> History:
        """Return what domains did in a time.

        Raises:
            ControlError: 400 the answer would be too long; 404 no such domain; 409 no
                history is kept, or it cannot be read.
        """
        ...

    def events(self, selection: EventSelection) -> AsyncGenerator[EventRecord, None]:
        """Yield recorded events, oldest first, and with `follow` those to come.

        The selection's domain is an ID, a UUID or a name. Without `clocks` frequency
        changes are neither sampled nor reported.
        The generator must be closable at any await (`aclose`), and may end by itself.

        Raises:
            ControlError: 404 no such domain, and no event about one.
        """
        ...


_UCRED = struct.Struct("3i")


def peer_of(sock: socket.socket) -> Peer:
    """Return the process that connected; asyncio's view of a socket works, too.

    Raises:
        OSError: the socket is closed.
    """
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(packed))
