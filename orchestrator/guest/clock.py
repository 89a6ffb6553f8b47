# SPDX-License-Identifier: Apache-2.0
"""Frequency requests and queries for one vCPU, over its port: blocking calls.

Usage::

    with VCpuClock(0) as clock:
        clock.freq_min()
        clock.query_freq()          # kHz

A request lasts until the port is closed; the host then withdraws it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TypeVar

from orchestrator.channel.protocol import Unit, encode_connect
from orchestrator.errors import AnswerMissing, HostAbsent, RequestRefused
from orchestrator.guest import calls
from orchestrator.guest.pairing import SEED_BYTES, Pairing
from orchestrator.guest.port import Port, open_port

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.calls import Call, VCpuCapabilities
    from orchestrator.guest.energy import Energy

T = TypeVar("T")

TIMEOUT_S = 0.1
"""vmpowerd answers within 8 ms or not at all; the rest is for a guest that has to wait
for a CPU. DPDK's own library waits 10 ms."""
CONNECT_TIMEOUTS = (0.3, 0.6, 1, 2, 4, 8)
"""Timeouts of the requests after CONNECT, as multiples of the normal one: the host may
not answer until it has taken the clock group."""

_FIRST_BYTE = 0xA5


def new_seed() -> bytes:
    """Return the part that the tokens of one connection have in common."""
    return bytes([_FIRST_BYTE]) + os.urandom(SEED_BYTES - 1)


def missing_answer(call: Call[T], timeout_s: float) -> AnswerMissing:
    """Return the error for an answer that did not arrive."""
    return AnswerMissing(
        f"no answer from the host within {timeout_s:g} s: {call.what}",
        hint="it may be busy; DPDK's own host answers since 19.11",
    )


class VCpuClock:
    """The calls of librte_power in a guest, for one vCPU, with answers.

    Each call raises `HostAbsent` if no host is connected, `AnswerMissing` if the host
    does not answer in time, `RequestRefused` if it refuses, and `PortAbsent` if the
    port was unplugged. All calls can be repeated after any of these errors.

    Synchronization: one thread.
    """

    def __init__(
        self,
        vcpu: int,
        *,
        timeout_s: float = TIMEOUT_S,
        vm_name: str = "",
        port: Port | None = None,
    ) -> None:
        """Open the port (librte_power's init); nothing is sent before the first call.

        Args:
            vcpu: number of the vCPU, and of its port.
            timeout_s: how long to wait for an answer.
            vm_name: for DPDK's own host, which identifies VMs by it; vmpowerd does not.
            port: an open port to use instead of the vCPU's own.

        Raises:
            PortAbsent: the VM has no such port.
            PortRefused: another program has it open, or permission was denied.
        """
        self.vcpu = vcpu
        self._timeout_s = timeout_s
        self._name = vm_name.encode()
        self._port = open_port(vcpu) if port is None else port
        self._pairing = Pairing(new_seed())
        self._is_connected = False
        self._has_answered = False

    def __enter__(self) -> VCpuClock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.exit()

    def exit(self) -> None:
        """Close the port; the host withdraws the requests made over it."""
        self._port.close()

    def has_host(self) -> bool:
        """Return whether a host is connected now."""
        if not self._port.has_host():
            self._forget_host()
            return False
        return True

    # Requests

    def freq_up(self) -> None:
        """Request one step up."""
        self.change(Unit.SCALE_UP)

    def freq_down(self) -> None:
        """Request one step down."""
        self.change(Unit.SCALE_DOWN)

    def freq_min(self) -> None:
        """Request the lowest allowed frequency."""
        self.change(Unit.SCALE_MIN)

    def freq_max(self) -> None:
        """Request the highest allowed frequency."""
        self.change(Unit.SCALE_MAX)

    def freq_enable_turbo(self) -> None:
        """Allow the turbo step, and request it."""
        self.change(Unit.ENABLE_TURBO)

    def freq_disable_turbo(self) -> None:
        """Forbid the turbo step, and request the nominal one."""
        self.change(Unit.DISABLE_TURBO)

    def change(self, unit: Unit) -> None:
        """Request a change by its wire value."""
        self._call(calls.change_frequency(self.vcpu, unit))

    # Queries

    def query_freq(self, vcpu: int | None = None) -> int | None:
        """Return the frequency of this vCPU, or of another one of the VM, in kHz.

        None: not known to the host.
        """
        return self._call(calls.query_frequency(self._or_own(vcpu), self._name))

    def query_freqs(self) -> dict[int, int | None]:
        """Return the frequencies of all vCPUs of the VM, in kHz (8 vCPUs at most)."""
        return self._call(calls.query_all_frequencies(self._name))

    def query_caps(self, vcpu: int | None = None) -> VCpuCapabilities:
        """Return the capabilities of this vCPU, or of another one of the VM."""
        return self._call(calls.query_capabilities(self._or_own(vcpu), self._name))

    def query_all_caps(self) -> dict[int, VCpuCapabilities]:
        """Return the capabilities of all vCPUs of the VM (8 vCPUs at most)."""
        return self._call(calls.query_all_capabilities(self._name))

    def query_energy(self) -> Energy:
        """Return what the VM draws and saves; DPDK's own host does not answer this."""
        return self._call(calls.query_energy(self._name))

    # Policies

    def send_policy(self, policy: PolicyPacket) -> None:
        """Request the host to apply a policy, replacing the previous one."""
        self._call(calls.install_policy(policy))

    def remove_policy(self) -> None:
        """Request the host to remove the policy; hosts do not answer this."""
        self._drain()
        self._send(calls.encode_removal(self._name))

    # Internals

    def _or_own(self, vcpu: int | None) -> int:
        return self.vcpu if vcpu is None else vcpu

    def _call(self, call: Call[T]) -> T:
        self._drain()
        if call.needs_connect and not self._is_connected:
            self._connect()
        try:
            return self._exchange(call, self._timeout_s)
        except AnswerMissing:
            # The host may have been replaced by one that needs CONNECT.
            self._is_connected = self._is_connected and not self._has_answered
            raise

    def _drain(self) -> None:
        """Discard late answers, and detect that the host is gone."""
        data = self._port.read()
        while data:
            self._pairing.receive(data)
            data = self._port.read()
        if data is not None:
            self._forget_host()

    def _connect(self) -> None:
        # CONNECT has no answer, and requests the highest step. An answer to another
        # request for it means that the host has taken the clock group.
        self._send(encode_connect())
        call = calls.change_frequency(self.vcpu, Unit.SCALE_MAX)
        any(self._is_acknowledged(call, n * self._timeout_s) for n in CONNECT_TIMEOUTS)
        # DPDK's hosts before 19.11 never answer.
        self._is_connected = True

    def _is_acknowledged(self, call: Call[None], timeout_s: float) -> bool:
        try:
            self._exchange(call, timeout_s)
        except AnswerMissing:
            return False
        except RequestRefused:
            pass
        return True

    def _exchange(self, call: Call[T], timeout_s: float) -> T:
        number, packet = self._pairing.register(call)
        try:
            self._send(packet)
            reply = self._receive(number, timeout_s)
        finally:
            self._pairing.cancel(number)
        if reply is None:
            raise missing_answer(call, timeout_s)
        self._has_answered = True
        return call.value_of(reply)

    def _send(self, packet: bytes) -> None:
        try:
            self._port.write(packet)
        except HostAbsent:
            self._forget_host()
            raise

    def _receive(self, number: int, timeout_s: float) -> bytes | None:
        """Wait for the answer to one call; None: it did not arrive."""
        deadline = time.monotonic() + timeout_s
        while self._port.wait(deadline - time.monotonic()):
            data = self._port.read()
            if data is not None and not data:
                self._forget_host()
                raise self._port.no_host()
            for found, reply in self._pairing.receive(data or b""):
                if found == number:
                    return reply
        return None

    def _forget_host(self) -> None:
        self._is_connected = False
        self._has_answered = False
        self._pairing.reset()
