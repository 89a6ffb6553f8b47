# SPDX-License-Identifier: Apache-2.0
"""A channel's socket, with the requests and answers in progress on it."""

from __future__ import annotations

import _socket
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import GENERATION_464
from orchestrator.channel.recognition import Stream
from orchestrator.monitor.process.allowance import Allowance
from orchestrator.monitor.process.budget import Budget
from orchestrator.monitor.process.share import TimeShare
from orchestrator.monitor.process.step_reader import (
    MAX_BYTE_COST,
    MAX_READ_BYTES,
    StepReader,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.arbiter import Domain, VCpu
    from orchestrator.monitor.link.commands import Adopt
    from orchestrator.monitor.process.allowance import Ticket
    from orchestrator.monitor.process.clock import Clock, CoreClocks

PlanKey = tuple[int, int, int, int]
"""The fields of a packet's header, in the order of `protocol.Request`."""


class Plan(NamedTuple):
    """The precomputed effect of a certain request.

    A plan exists only while the effect depends on nothing else: its clock group is
    taken, there is no other vCPU, no override and no host CPU in it, and its vCPU votes
    in no other group.
    """

    vcpu: VCpu
    vote_khz: int
    clock: Clock
    grant_khz: int
    data: bytes
    """The grant, as it is written to the kernel."""
    granted_at: int
    """The word of the shared table that counts its time."""


class HeldAnswer(NamedTuple):
    """An answer that may have to wait: for its clock group, main, or other answers."""

    data: bytes
    """As it will be sent; before its outcome is known, as an ACK."""
    polled_ns: int
    """Time (monotonic) of the poll that delivered the request."""
    waits_for: Clock | CoreClocks | Ticket | None
    """Clock groups or the installation of a policy; None: its outcome is known."""
    is_ack: bool


class Endpoint:
    """A channel's socket; owns it.

    Synchronization: one thread, the monitor's.
    """

    __slots__ = (
        "_sock",
        "adopted",
        "allowance",
        "budget",
        "credit",
        "domain",
        "has_fast_path",
        "held",
        "index",
        "is_drained",
        "is_enabled",
        "last_partial_ns",
        "plans",
        "read_bytes",
        "receive",
        "reported_refusals",
        "send",
        "steps",
        "stream",
        "time_share",
        "unsent",
    )

    def __init__(  # noqa: PLR0915 - one statement for each field
        self,
        sock: _socket.socket,
        domain: Domain,
        adopted: Adopt,
        index: int,
        stream: Stream | None = None,
        budget: Budget | None = None,
    ) -> None:
        sock.settimeout(0)
        self._sock = sock
        self.receive: Callable[[int], bytes] = sock.recv
        """Return received bytes, up to a maximum."""
        self.read_bytes = 0
        """How much is read at once. What a guest has sent beyond that waits for its
        next turn, after the others'. Updated by `refresh`."""
        self.time_share = TimeShare()
        """Of the monitor's time."""
        self.send = sock.send
        self.domain = domain
        self.adopted = adopted
        """Its identification by main."""
        self.index = index
        """Where its row begins in the shared table."""
        self.steps: StepReader | None = None
        """Of a P-state channel; None: it has packets."""
        if adopted.steps is not None:
            self.steps = StepReader(adopted.steps, _count_backlog(sock))
        self.is_enabled = adopted.is_enabled
        self.plans: dict[PlanKey, Plan] = {}
        """Precomputed requests; see `Plan`."""
        self.has_fast_path = True
        """Whether the next 464 bytes are one whole packet that can be answered at once:
        no part of it has been received, and no answer waits. Updated by `refresh`."""
        self.stream = stream or Stream()
        self.is_drained = True
        """Whether the last read emptied the socket."""
        self.last_partial_ns = 0
        """Time (monotonic) when the rest of the stream was received."""
        self.reported_refusals = 0
        """Bit N: a refusal for reason N has been reported."""
        self.allowance = Allowance()
        """For policies."""
        self.budget = budget or Budget()
        """For everything that is received."""
        self.credit = self.budget.per_window
        """What is left of the budget in this window; below 0: it is exceeded."""
        self.held: deque[HeldAnswer] = deque()
        self.unsent = b""
        """The rest of a partially sent answer."""
        self.refresh()

    @property
    def number(self) -> int:
        """The channel's number in its domain."""
        return self.adopted.number

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 after `close`."""
        return self._sock.fileno()

    def refresh(self) -> None:
        """Update what depends on the stream, the held answers and the time share."""
        if self.steps is not None:
            self.has_fast_path = False
            self.read_bytes = MAX_READ_BYTES
            return
        stream = self.stream
        is_464 = stream.generation is GENERATION_464
        self.has_fast_path = is_464 and not (stream.rest or self.held)
        generation = stream.generation or GENERATION_464
        most_bytes = self.time_share.max_packets * generation.size_bytes
        # At least the longest packet: in smaller pieces a guest that changes to another
        # generation would not be recognized.
        self.read_bytes = max(most_bytes, GENERATION_464.size_bytes)

    def close(self) -> None:
        """Close the socket and drop everything in progress."""
        self.plans.clear()
        self.held.clear()
        # Bound methods keep the socket object alive, but not its descriptor.
        self._sock.close()


def _count_backlog(sock: _socket.socket) -> int:
    """Return how many bytes may fill the socket: fewer always fit.

    QEMU's end has the same default size as this one, and writes one byte at a time.
    """
    size = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF)
    return max(1, size // MAX_BYTE_COST)
