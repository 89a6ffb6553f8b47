"""A channel's socket in the monitor's hands, and what is under way on it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import GENERATION_464
from orchestrator.channel.recognition import Stream
from orchestrator.monitor.process.allowance import Allowance
from orchestrator.monitor.process.share import Share

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from orchestrator.monitor.arbiter import Domain, VCpu
    from orchestrator.monitor.link.commands import Adopt
    from orchestrator.monitor.process.allowance import Ticket
    from orchestrator.monitor.process.clock import Clock

PlanKey = tuple[int, int, int, int]
"""The fields of a packet's header, in the order of `protocol.Request`."""


class Plan(NamedTuple):
    """What a certain request will do, computed beforehand.

    A plan exists only while its request depends on nothing but itself: its clock is
    taken, and no other vCPU, override or host CPU has a say in it.
    """

    vcpu: VCpu
    vote_khz: int
    clock: Clock
    grant_khz: int
    data: bytes
    """The grant as the kernel reads it."""


class HeldAnswer(NamedTuple):
    """An answer, which may have to wait: for its clock group, main, or others."""

    data: bytes
    """As it is sent; while it is not decided: as an ACK."""
    polled_ns: int
    """Time (monotonic) of the poll that delivered the request."""
    decider: Clock | Ticket | None
    """What decides it: a clock group, or main's word; None: it is decided."""
    is_ack: bool


class Endpoint:
    """A channel's socket; owns it.

    Synchronization: one thread, the monitor's.
    """

    __slots__ = (
        "_sock",
        "adopted",
        "allowance",
        "domain",
        "held",
        "index",
        "is_enabled",
        "is_quiet",
        "last_partial_ns",
        "plans",
        "read_bytes",
        "receive",
        "reported_refusals",
        "send",
        "share",
        "stream",
        "unsent",
    )

    def __init__(
        self,
        sock: _socket.socket,
        domain: Domain,
        adopted: Adopt,
        index: int,
        stream: Stream | None = None,
    ) -> None:
        sock.settimeout(0)
        self._sock = sock
        self.receive: Callable[[int], bytes] = sock.recv
        """Takes what has arrived, at most so many bytes."""
        self.read_bytes = 0
        """The most that is read at once. What a guest has sent beyond that waits for
        its next turn, after the others'. Kept by `refresh`."""
        self.share = Share()
        """Of the monitor's time."""
        self.send = sock.send
        self.domain = domain
        self.adopted = adopted
        """How main named it."""
        self.index = index
        """Where its row begins in the shared table."""
        self.is_enabled = adopted.is_enabled
        self.plans: dict[PlanKey, Plan] = {}
        """The requests that need no thought; see `Plan`."""
        self.is_quiet = True
        """Whether 464 bytes that are received now are a packet that stands alone:
        nothing of it arrived before, no answer must go before its own. Kept by
        `refresh`."""
        self.stream = stream or Stream()
        self.last_partial_ns = 0
        """Time (monotonic) when the rest of the stream arrived."""
        self.reported_refusals = 0
        """Bit N: main knows that something was refused for reason N."""
        self.allowance = Allowance()
        """For policies."""
        self.held: deque[HeldAnswer] = deque()
        self.unsent = b""
        """The rest of an answer of which the socket took only a part."""
        self.refresh()

    @property
    def number(self) -> int:
        """The channel's number in its domain."""
        return self.adopted.number

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 after `close`."""
        return self._sock.fileno()

    def refresh(self) -> None:
        """Notice whether anything is under way, and what the guest speaks."""
        stream = self.stream
        is_464 = stream.generation is GENERATION_464
        self.is_quiet = is_464 and not (stream.rest or self.held)
        generation = stream.generation or GENERATION_464
        most_bytes = self.share.most_packets * generation.size_bytes
        # The longest packet at least: in pieces of it nobody would recognise a guest
        # that speaks another generation now.
        self.read_bytes = max(most_bytes, GENERATION_464.size_bytes)

    def close(self) -> None:
        """Close the socket and forget what was under way."""
        self.plans.clear()
        self.held.clear()
        # Bound methods keep the socket's object, whose descriptor is closed, alive.
        self._sock.close()
