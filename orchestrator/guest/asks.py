"""What a guest may ask of its host, as values: a packet, and how its answer is read.

Source: DPDK's rte_power.h (names of the calls) and guest_cli (queries and policies).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Generic, NamedTuple, TypeVar

from orchestrator.channel.protocol import (
    GENERATION_464,
    MAX_VCPUS,
    Answer,
    Command,
    Request,
    Unit,
    decode,
    decode_capabilities,
    decode_frequencies,
    encode,
    encode_policy,
)
from orchestrator.errors import PacketError, RequestRefused

if TYPE_CHECKING:
    from struct import Struct

    from orchestrator.channel.protocol import PolicyPacket

T = TypeVar("T")

TOKEN_BYTES = 7
"""Room in a packet for the mark by which its answer is recognised."""

_TOKEN_IN_TAIL = GENERATION_464.size_bytes - TOKEN_BYTES
# The end of vm_name, behind its zero, where DPDK's own guests leave stack garbage.
_TOKEN_IN_NAME = 48 - TOKEN_BYTES
_NAME_AT = 16
MAX_NAME_BYTES = 32 - TOKEN_BYTES - 1
"""The longest name that leaves room for a zero and the mark."""

CLOCKS = {
    "up": Unit.SCALE_UP,
    "down": Unit.SCALE_DOWN,
    "min": Unit.SCALE_MIN,
    "max": Unit.SCALE_MAX,
    "turbo-on": Unit.ENABLE_TURBO,
    "turbo-off": Unit.DISABLE_TURBO,
}
"""What a vCPU's clock can be asked to do, by the words that people use."""


def word_of(unit: Unit) -> str:
    """Return the word for a change of a clock."""
    return next(word for word, known in CLOCKS.items() if known is unit)


class VCpuAbilities(NamedTuple):
    """What the CPU of a vCPU can do, as the host says."""

    has_turbo: bool
    """There is a step above the nominal one, and this guest may have it."""
    is_priority: bool
    """It is one of the host's CPUs that are faster than the others."""


@dataclass(frozen=True)
class Ask(Generic[T]):
    """A question or a demand; `T` is what its answer says."""

    what: str
    """For people: what is asked, of which vCPU."""
    packet: bytes
    """Without its mark."""
    reply_bytes: int
    token_at: int
    """Where the mark stands, in the packet and in its answer."""
    read: Callable[[bytes], T]
    """Reads an answer that is no refusal."""
    is_demand: bool = False
    """Whether the host should have been greeted, so that it holds the clock."""

    def value_of(self, reply: bytes) -> T:
        """Read the answer.

        Raises:
            RequestRefused: the host said no.
            PacketError: it is no answer to this.
        """
        number = reply[GENERATION_464.answer_offset]
        if number == Answer.NACK:
            raise RequestRefused(
                f"the host refused {self.what}",
                hint="the operator sees why: vmpower domain show, vmpower events",
            )
        return self.read(reply)


def change_clock(vcpu: int, unit: Unit) -> Ask[None]:
    """Ask for a change of a vCPU's clock."""
    what = f"{word_of(unit)} for vCPU {vcpu}"
    return _echoed(what, encode(Request(vcpu, unit)), is_demand=True)


def query_clocks(name: bytes = b"") -> Ask[dict[int, int | None]]:
    """Ask for the clocks of all vCPUs, in kHz; None: the host does not know it.

    An answer has room for 8.
    """
    packet = _query(0, Command.QUERY_FREQ_LIST, name)
    return _question(
        "the clocks of all vCPUs", packet, GENERATION_464.frequencies, _read_clocks
    )


def query_clock(vcpu: int, name: bytes = b"") -> Ask[int | None]:
    """Ask for the clock of one vCPU, in kHz; None: the host does not know it.

    Raises:
        PacketError: answers have no room for it, or the name is too long.
    """
    packet = _query(vcpu, Command.QUERY_FREQ, name)

    def read(reply: bytes) -> int | None:
        return _read_clocks(reply).get(vcpu)

    what = f"the clock of vCPU {vcpu}"
    return _question(what, packet, GENERATION_464.frequencies, read)


def query_abilities(name: bytes = b"") -> Ask[dict[int, VCpuAbilities]]:
    """Ask what the CPUs of all vCPUs can do; the wire has slots for 8."""
    packet = _query(0, Command.QUERY_CAPS_LIST, name)
    what = "the abilities of all vCPUs"
    return _question(what, packet, GENERATION_464.capabilities, _read_abilities)


def query_ability(vcpu: int, name: bytes = b"") -> Ask[VCpuAbilities]:
    """Ask what the CPU of one vCPU can do.

    Raises:
        PacketError: answers have no room for it, or the name is too long.
    """
    packet = _query(vcpu, Command.QUERY_CAPS, name)

    def read(reply: bytes) -> VCpuAbilities:
        try:
            return _read_abilities(reply)[vcpu]
        except KeyError:
            raise PacketError(f"the answer leaves out vCPU {vcpu}") from None

    what = f"the abilities of vCPU {vcpu}"
    return _question(what, packet, GENERATION_464.capabilities, read)


def install_policy(policy: PolicyPacket) -> Ask[None]:
    """Ask the host to follow a policy for some vCPUs.

    Raises:
        PacketError: a field does not fit.
    """
    # No demand: greeting the host is a wish for the highest clock, and would hide it.
    return _echoed("the policy", encode_policy(policy))


def encode_removal(name: bytes = b"") -> bytes:
    """Write the packet that ends the policy; no host answers it.

    Raises:
        PacketError: the name is too long.
    """
    return _query(0, Command.PKT_POLICY_REMOVE, name)


def _echoed(what: str, packet: bytes, *, is_demand: bool = False) -> Ask[None]:
    return Ask(
        what=what,
        packet=packet,
        reply_bytes=GENERATION_464.size_bytes,
        token_at=_TOKEN_IN_TAIL,
        read=_read_ack,
        is_demand=is_demand,
    )


def _question(
    what: str, packet: bytes, reply: Struct | None, read: Callable[[bytes], T]
) -> Ask[T]:
    if reply is None:
        raise TypeError("this generation has no queries")
    return Ask(
        what=what,
        packet=packet,
        reply_bytes=reply.size,
        token_at=_TOKEN_IN_NAME,
        read=read,
    )


def _query(vcpu: int, command: Command, name: bytes) -> bytes:
    if len(name) > MAX_NAME_BYTES:
        raise PacketError(
            f"the name has {len(name)} bytes, and room is for {MAX_NAME_BYTES}",
            hint="leave it out: vmpowerd knows which domain a channel belongs to",
        )
    if vcpu >= MAX_VCPUS:
        raise PacketError(
            f"nobody can ask about vCPU {vcpu}",
            hint=f"an answer has room for vCPUs 0 to {MAX_VCPUS - 1}",
        )
    packet = bytearray(encode(Request(vcpu, 0, command)))
    packet[_NAME_AT : _NAME_AT + len(name)] = name
    return bytes(packet)


def _read_ack(reply: bytes) -> None:
    if decode(reply).command != Answer.ACK:
        raise PacketError("the answer is neither yes nor no")


def _read_clocks(reply: bytes) -> dict[int, int | None]:
    clocks = decode_frequencies(reply)
    if clocks.command != Answer.FREQ_LIST:
        raise PacketError("the answer holds no clocks")
    return {
        vcpu: clocks.khz[vcpu] or None
        for vcpu in range(min(clocks.num_vcpu, MAX_VCPUS))
    }


def _read_abilities(reply: bytes) -> dict[int, VCpuAbilities]:
    told = decode_capabilities(reply)
    if told.command != Answer.CAPS_LIST:
        raise PacketError("the answer holds no abilities")
    return {
        vcpu: VCpuAbilities(bool(told.turbo[vcpu]), bool(told.priority[vcpu]))
        for vcpu in range(min(told.num_vcpu, MAX_VCPUS))
    }
