# SPDX-License-Identifier: Apache-2.0
"""The calls that a guest can make to its host: a packet, and how its answer is read.

Source: DPDK's rte_power.h (names of the calls) and guest_cli (queries and policies).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Generic, NamedTuple, TypeVar

from orchestrator.channel.protocol import (
    ENERGY_REPLY,
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
from orchestrator.guest.energy import Energy, read_energy

if TYPE_CHECKING:
    from struct import Struct

    from orchestrator.channel.protocol import PolicyPacket

T = TypeVar("T")

TOKEN_BYTES = 7
"""Size of the token by which the answer to a packet is recognized."""

_TOKEN_IN_TAIL = GENERATION_464.size_bytes - TOKEN_BYTES
# The end of vm_name, after its zero; DPDK's own guests leave stack garbage there.
_TOKEN_IN_NAME = 48 - TOKEN_BYTES
_NAME_AT = 16
MAX_NAME_BYTES = 32 - TOKEN_BYTES - 1
"""The longest name that leaves room for a zero and the token."""

FREQUENCY_CHANGES = {
    "up": Unit.SCALE_UP,
    "down": Unit.SCALE_DOWN,
    "min": Unit.SCALE_MIN,
    "max": Unit.SCALE_MAX,
    "turbo-on": Unit.ENABLE_TURBO,
    "turbo-off": Unit.DISABLE_TURBO,
}
"""Changes of a vCPU's frequency, by their names on the command line."""


def name_of(unit: Unit) -> str:
    """Return the name of a change."""
    return next(name for name, known in FREQUENCY_CHANGES.items() if known is unit)


class VCpuCapabilities(NamedTuple):
    """Capabilities of a vCPU's host CPU, as the host reports them."""

    has_turbo: bool
    """There is a turbo step, and this guest may use it."""
    is_priority: bool
    """It is one of the host's high-priority CPUs (SST-BF)."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request or a query; `T` is the type of its result."""

    what: str
    """For messages: what is requested, for which vCPU."""
    packet: bytes
    """Without the token."""
    reply_bytes: int
    token_at: int
    """Offset of the token, in the packet and in its answer."""
    read: Callable[[bytes], T]
    """Reads the result from an answer other than NACK."""
    needs_connect: bool = False
    """Whether CONNECT is to be sent before, so that the host takes the clock group."""

    def value_of(self, reply: bytes) -> T:
        """Read the result from the answer.

        Raises:
            RequestRefused: the host answered NACK.
            PacketError: the answer is not one to this call.
        """
        number = reply[GENERATION_464.answer_offset]
        if number == Answer.NACK:
            raise RequestRefused(
                f"the host refused {self.what}",
                hint="on the host, 'vmpower domain show' displays the reason",
            )
        return self.read(reply)


def change_frequency(vcpu: int, unit: Unit) -> Call[None]:
    """Request a change of a vCPU's frequency."""
    what = f"{name_of(unit)} for vCPU {vcpu}"
    return _request(what, encode(Request(vcpu, unit)), needs_connect=True)


def query_all_frequencies(name: bytes = b"") -> Call[dict[int, int | None]]:
    """Query the frequencies of all vCPUs in kHz; None: not known to the host.

    An answer has room for 8 vCPUs.
    """
    packet = _query(0, Command.QUERY_FREQ_LIST, name)
    return _query_call(
        "the frequencies of all vCPUs",
        packet,
        GENERATION_464.frequencies,
        _read_frequencies,
    )


def query_frequency(vcpu: int, name: bytes = b"") -> Call[int | None]:
    """Query the frequency of one vCPU in kHz; None: not known to the host.

    Raises:
        PacketError: the vCPU does not fit into an answer, or the name is too long.
    """
    packet = _query(vcpu, Command.QUERY_FREQ, name)

    def read(reply: bytes) -> int | None:
        return _read_frequencies(reply).get(vcpu)

    what = f"the frequency of vCPU {vcpu}"
    return _query_call(what, packet, GENERATION_464.frequencies, read)


def query_all_capabilities(name: bytes = b"") -> Call[dict[int, VCpuCapabilities]]:
    """Query the capabilities of all vCPUs; an answer has room for 8."""
    packet = _query(0, Command.QUERY_CAPS_LIST, name)
    what = "the capabilities of all vCPUs"
    return _query_call(what, packet, GENERATION_464.capabilities, _read_capabilities)


def query_capabilities(vcpu: int, name: bytes = b"") -> Call[VCpuCapabilities]:
    """Query the capabilities of one vCPU.

    Raises:
        PacketError: the vCPU does not fit into an answer, or the name is too long.
    """
    packet = _query(vcpu, Command.QUERY_CAPS, name)

    def read(reply: bytes) -> VCpuCapabilities:
        try:
            return _read_capabilities(reply)[vcpu]
        except KeyError:
            raise PacketError(f"the answer does not include vCPU {vcpu}") from None

    what = f"the capabilities of vCPU {vcpu}"
    return _query_call(what, packet, GENERATION_464.capabilities, read)


def query_energy(name: bytes = b"") -> Call[Energy]:
    """Query what the VM draws and saves: only vmpowerd answers this.

    Raises:
        PacketError: the name is too long.
    """
    packet = _query(0, Command.QUERY_ENERGY, name)
    return _query_call("the energy of this VM", packet, ENERGY_REPLY, read_energy)


def install_policy(policy: PolicyPacket) -> Call[None]:
    """Request the host to apply a policy to some vCPUs.

    Raises:
        PacketError: a value does not fit into its field.
    """
    # Without CONNECT, which requests the highest frequency and would hide the policy.
    return _request("the policy", encode_policy(policy))


def encode_removal(name: bytes = b"") -> bytes:
    """Encode the removal of the policy; hosts do not answer it.

    Raises:
        PacketError: the name is too long.
    """
    return _query(0, Command.PKT_POLICY_REMOVE, name)


def _request(what: str, packet: bytes, *, needs_connect: bool = False) -> Call[None]:
    return Call(
        what=what,
        packet=packet,
        reply_bytes=GENERATION_464.size_bytes,
        token_at=_TOKEN_IN_TAIL,
        read=_read_ack,
        needs_connect=needs_connect,
    )


def _query_call(
    what: str, packet: bytes, reply: Struct | None, read: Callable[[bytes], T]
) -> Call[T]:
    if reply is None:
        raise TypeError("this generation has no queries")
    return Call(
        what=what,
        packet=packet,
        reply_bytes=reply.size,
        token_at=_TOKEN_IN_NAME,
        read=read,
    )


def _query(vcpu: int, command: Command, name: bytes) -> bytes:
    if len(name) > MAX_NAME_BYTES:
        raise PacketError(
            f"VM name too long: {len(name)} bytes, at most {MAX_NAME_BYTES} fit",
            hint="omit it: vmpowerd knows the domain from the channel",
        )
    if vcpu >= MAX_VCPUS:
        raise PacketError(
            f"cannot query vCPU {vcpu}: expected 0 to {MAX_VCPUS - 1}",
            hint="an answer has no room for higher numbers",
        )
    packet = bytearray(encode(Request(vcpu, 0, command)))
    packet[_NAME_AT : _NAME_AT + len(name)] = name
    return bytes(packet)


def _read_ack(reply: bytes) -> None:
    if decode(reply).command != Answer.ACK:
        raise PacketError("the answer is neither ACK nor NACK")


def _read_frequencies(reply: bytes) -> dict[int, int | None]:
    reply_fields = decode_frequencies(reply)
    if reply_fields.command != Answer.FREQ_LIST:
        raise PacketError("the answer has no frequencies")
    return {
        vcpu: reply_fields.khz[vcpu] or None
        for vcpu in range(min(reply_fields.num_vcpu, MAX_VCPUS))
    }


def _read_capabilities(reply: bytes) -> dict[int, VCpuCapabilities]:
    reply_fields = decode_capabilities(reply)
    if reply_fields.command != Answer.CAPS_LIST:
        raise PacketError("the answer has no capabilities")
    return {
        vcpu: VCpuCapabilities(
            bool(reply_fields.turbo[vcpu]), bool(reply_fields.priority[vcpu])
        )
        for vcpu in range(min(reply_fields.num_vcpu, MAX_VCPUS))
    }
