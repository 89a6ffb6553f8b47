"""The clock of one vCPU, asked for over its port: blocking, with a time-out.

Usage::

    with VCpuClock(0) as clock:
        clock.freq_min()
        clock.query_freq()          # kHz

What was asked for holds until the port is closed; then the host takes it back.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TypeVar

from orchestrator.channel.protocol import Unit, encode_connect
from orchestrator.errors import AnswerMissing, HostAbsent, RequestRefused
from orchestrator.guest import asks
from orchestrator.guest.pairing import SEED_BYTES, Pairing
from orchestrator.guest.port import Port, open_port

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.asks import Ask, VCpuAbilities

T = TypeVar("T")

TIMEOUT_S = 0.1
"""vmpowerd answers within 8 ms or not at all; the rest is for a guest that waits for a
CPU. DPDK's own library has a patience of 10 ms."""
GREETING_PATIENCE = (0.3, 0.6, 1, 2, 4, 8)
"""How long the host has for taking hold of a clock, during which it may answer nothing:
the time-outs of asking whether it has, as multiples of the ordinary one."""

_FIRST_BYTE = 0xA5


def new_seed() -> bytes:
    """Choose what the marks of one conversation have in common."""
    return bytes([_FIRST_BYTE]) + os.urandom(SEED_BYTES - 1)


def silence(ask: Ask[T], timeout_s: float) -> AnswerMissing:
    """Describe an answer that did not come."""
    return AnswerMissing(
        f"the host did not answer within {timeout_s:g} s: {ask.what}",
        hint="it may be busy; DPDK's own host answers from 19.11 on",
    )


class VCpuClock:
    """One vCPU's clock: the calls of librte_power that a guest has, and answers.

    Each call raises `HostAbsent` if nobody on the host is connected, `AnswerMissing`
    if it does not answer in time, `RequestRefused` if it says no, and `PortAbsent` if
    the port was unplugged. All but `exit` can be called again after any of them.

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
            vcpu: whose clock; the port's number too.
            timeout_s: how long an answer may take.
            vm_name: for DPDK's own host, which finds a VM by it; vmpowerd needs none.
            port: an open port instead of the vCPU's own.

        Raises:
            PortAbsent: the VM has no such port.
            PortRefused: another program has it open, or we have no right to it.
        """
        self.vcpu = vcpu
        self._timeout_s = timeout_s
        self._name = vm_name.encode()
        self._port = open_port(vcpu) if port is None else port
        self._pairing = Pairing(new_seed())
        self._is_greeted = False
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
        """Close the port; the host takes back what was asked through it."""
        self._port.close()

    def has_host(self) -> bool:
        """Tell whether somebody on the host is connected now."""
        if not self._port.has_host():
            self._lose_host()
            return False
        return True

    # Demands

    def freq_up(self) -> None:
        """Ask for one step faster."""
        self.change(Unit.SCALE_UP)

    def freq_down(self) -> None:
        """Ask for one step slower."""
        self.change(Unit.SCALE_DOWN)

    def freq_min(self) -> None:
        """Ask for the slowest step that is allowed."""
        self.change(Unit.SCALE_MIN)

    def freq_max(self) -> None:
        """Ask for the fastest step that is allowed."""
        self.change(Unit.SCALE_MAX)

    def freq_enable_turbo(self) -> None:
        """Ask for the turbo step, and to be allowed there."""
        self.change(Unit.ENABLE_TURBO)

    def freq_disable_turbo(self) -> None:
        """Ask for the fastest step below turbo, and to stay below it."""
        self.change(Unit.DISABLE_TURBO)

    def change(self, unit: Unit) -> None:
        """Ask for a change by its name on the wire."""
        self._ask(asks.change_clock(self.vcpu, unit))

    # Questions

    def query_freq(self, vcpu: int | None = None) -> int | None:
        """Return the clock of this vCPU, or another one of this VM, in kHz.

        None: the host does not know it.
        """
        return self._ask(asks.query_clock(self._or_own(vcpu), self._name))

    def query_freqs(self) -> dict[int, int | None]:
        """Return the clocks of all vCPUs of this VM, in kHz (of 8 at most)."""
        return self._ask(asks.query_clocks(self._name))

    def query_caps(self, vcpu: int | None = None) -> VCpuAbilities:
        """Return what the CPU of this vCPU, or another one of this VM, can do."""
        return self._ask(asks.query_ability(self._or_own(vcpu), self._name))

    def query_all_caps(self) -> dict[int, VCpuAbilities]:
        """Return what the CPUs of all vCPUs of this VM can do (of 8 at most)."""
        return self._ask(asks.query_abilities(self._name))

    # Policies

    def send_policy(self, policy: PolicyPacket) -> None:
        """Ask the host to follow a policy, in place of the last one."""
        self._ask(asks.install_policy(policy))

    def remove_policy(self) -> None:
        """Ask the host to end the policy; no host answers this."""
        self._catch_up()
        self._send(asks.encode_removal(self._name))

    # How

    def _or_own(self, vcpu: int | None) -> int:
        return self.vcpu if vcpu is None else vcpu

    def _ask(self, ask: Ask[T]) -> T:
        self._catch_up()
        if ask.is_demand and not self._is_greeted:
            self._greet()
        try:
            return self._exchange(ask, self._timeout_s)
        except AnswerMissing:
            # A host that answered and now does not may be another one.
            self._is_greeted = self._is_greeted and not self._has_answered
            raise

    def _catch_up(self) -> None:
        """Drop what arrived too late; notice that the host has gone."""
        data = self._port.read()
        while data:
            self._pairing.receive(data)
            data = self._port.read()
        if data is not None:
            self._lose_host()

    def _greet(self) -> None:
        # CONNECT has no answer, and is a wish for the highest step. Asking for that
        # once more tells when the host has taken hold of the clock.
        self._send(encode_connect())
        ask = asks.change_clock(self.vcpu, Unit.SCALE_MAX)
        any(self._is_ready(ask, n * self._timeout_s) for n in GREETING_PATIENCE)
        # DPDK's hosts before 19.11 are never ready: they answer nothing.
        self._is_greeted = True

    def _is_ready(self, ask: Ask[None], timeout_s: float) -> bool:
        try:
            self._exchange(ask, timeout_s)
        except AnswerMissing:
            return False
        except RequestRefused:
            pass
        return True

    def _exchange(self, ask: Ask[T], timeout_s: float) -> T:
        number, packet = self._pairing.mark(ask)
        try:
            self._send(packet)
            reply = self._receive(number, timeout_s)
        finally:
            self._pairing.give_up(number)
        if reply is None:
            raise silence(ask, timeout_s)
        self._has_answered = True
        return ask.value_of(reply)

    def _send(self, packet: bytes) -> None:
        try:
            self._port.write(packet)
        except HostAbsent:
            self._lose_host()
            raise

    def _receive(self, number: int, timeout_s: float) -> bytes | None:
        """Wait for one answer; None: it did not come."""
        deadline = time.monotonic() + timeout_s
        while self._port.wait(deadline - time.monotonic()):
            data = self._port.read()
            if data is not None and not data:
                self._lose_host()
                raise self._port.no_host()
            for found, reply in self._pairing.receive(data or b""):
                if found == number:
                    return reply
        return None

    def _lose_host(self) -> None:
        self._is_greeted = False
        self._has_answered = False
        self._pairing.forget()
