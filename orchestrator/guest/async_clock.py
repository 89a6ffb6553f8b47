"""The clock of one vCPU, asked for over its port: under asyncio.

Usage::

    async with AsyncVCpuClock(0) as clock:
        await clock.freq_min()
        await clock.query_freq()    # kHz

Calls may overlap: each gets its own answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from orchestrator.channel.protocol import Unit, encode_connect
from orchestrator.errors import AnswerMissing, HostAbsent, PortAbsent, RequestRefused
from orchestrator.guest import asks
from orchestrator.guest.clock import (
    GREETING_PATIENCE,
    TIMEOUT_S,
    new_seed,
    silence,
)
from orchestrator.guest.pairing import Pairing
from orchestrator.guest.port import Port, open_port

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.asks import Ask, VCpuAbilities

T = TypeVar("T")


class AsyncVCpuClock:
    """What `VCpuClock` does, as coroutines; see there for each call's errors.

    Synchronization: the thread of the event loop in which it was made.
    """

    def __init__(
        self,
        vcpu: int,
        *,
        timeout_s: float = TIMEOUT_S,
        vm_name: str = "",
        port: Port | None = None,
    ) -> None:
        """Open the port, in a running event loop; nothing is sent yet.

        Raises:
            PortAbsent: the VM has no such port.
            PortRefused: another program has it open, or we have no right to it.
        """
        self.vcpu = vcpu
        self._timeout_s = timeout_s
        self._name = vm_name.encode()
        self._loop = asyncio.get_running_loop()
        self._port = open_port(vcpu) if port is None else port
        self._pairing = Pairing(new_seed())
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._greeting = asyncio.Lock()
        self._is_greeted = False
        self._has_answered = False
        self._is_listening = False

    async def __aenter__(self) -> AsyncVCpuClock:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.exit()

    def exit(self) -> None:
        """Close the port; calls that wait for an answer end with `HostAbsent`."""
        if self._port.fileno() >= 0:
            self._lose_host()
            self._port.close()

    def has_host(self) -> bool:
        """Tell whether somebody on the host is connected now."""
        if not self._port.has_host():
            self._lose_host()
            return False
        return True

    # Demands

    async def freq_up(self) -> None:
        """Ask for one step faster."""
        await self.change(Unit.SCALE_UP)

    async def freq_down(self) -> None:
        """Ask for one step slower."""
        await self.change(Unit.SCALE_DOWN)

    async def freq_min(self) -> None:
        """Ask for the slowest step that is allowed."""
        await self.change(Unit.SCALE_MIN)

    async def freq_max(self) -> None:
        """Ask for the fastest step that is allowed."""
        await self.change(Unit.SCALE_MAX)

    async def freq_enable_turbo(self) -> None:
        """Ask for the turbo step, and to be allowed there."""
        await self.change(Unit.ENABLE_TURBO)

    async def freq_disable_turbo(self) -> None:
        """Ask for the fastest step below turbo, and to stay below it."""
        await self.change(Unit.DISABLE_TURBO)

    async def change(self, unit: Unit) -> None:
        """Ask for a change by its name on the wire."""
        await self._ask(asks.change_clock(self.vcpu, unit))

    # Questions

    async def query_freq(self, vcpu: int | None = None) -> int | None:
        """Return the clock of this vCPU, or another one of this VM, in kHz.

        None: the host does not know it.
        """
        return await self._ask(asks.query_clock(self._or_own(vcpu), self._name))

    async def query_freqs(self) -> dict[int, int | None]:
        """Return the clocks of all vCPUs of this VM, in kHz (of 8 at most)."""
        return await self._ask(asks.query_clocks(self._name))

    async def query_caps(self, vcpu: int | None = None) -> VCpuAbilities:
        """Return what the CPU of this vCPU, or another one of this VM, can do."""
        return await self._ask(asks.query_ability(self._or_own(vcpu), self._name))

    async def query_all_caps(self) -> dict[int, VCpuAbilities]:
        """Return what the CPUs of all vCPUs of this VM can do (of 8 at most)."""
        return await self._ask(asks.query_abilities(self._name))

    # Policies

    async def send_policy(self, policy: PolicyPacket) -> None:
        """Ask the host to follow a policy, in place of the last one."""
        await self._ask(asks.install_policy(policy))

    async def remove_policy(self) -> None:
        """Ask the host to end the policy; no host answers this."""
        self._listen()
        self._send(asks.encode_removal(self._name))

    # How

    def _or_own(self, vcpu: int | None) -> int:
        return self.vcpu if vcpu is None else vcpu

    async def _ask(self, ask: Ask[T]) -> T:
        self._listen()
        if ask.is_demand:
            async with self._greeting:
                if not self._is_greeted:
                    await self._greet()
        try:
            return await self._exchange(ask, self._timeout_s)
        except AnswerMissing:
            # A host that answered and now does not may be another one.
            self._is_greeted = self._is_greeted and not self._has_answered
            raise

    async def _greet(self) -> None:
        """Do what `VCpuClock` does for its first demand."""
        self._send(encode_connect())
        ask = asks.change_clock(self.vcpu, Unit.SCALE_MAX)
        for multiple in GREETING_PATIENCE:
            if await self._is_ready(ask, multiple * self._timeout_s):
                break
        self._is_greeted = True

    async def _is_ready(self, ask: Ask[None], timeout_s: float) -> bool:
        try:
            await self._exchange(ask, timeout_s)
        except AnswerMissing:
            return False
        except RequestRefused:
            pass
        return True

    async def _exchange(self, ask: Ask[T], timeout_s: float) -> T:
        number, packet = self._pairing.mark(ask)
        try:
            self._send(packet)
            answer = self._waiting[number] = self._loop.create_future()
            reply = await asyncio.wait_for(answer, timeout_s)
        except asyncio.TimeoutError:
            raise silence(ask, timeout_s) from None
        finally:
            self._waiting.pop(number, None)
            self._pairing.give_up(number)
        self._has_answered = True
        return ask.value_of(reply)

    def _send(self, packet: bytes) -> None:
        try:
            self._port.write(packet)
        except HostAbsent:
            self._lose_host()
            raise

    def _listen(self) -> None:
        """Watch the port; while the host is gone it would be readable always."""
        if not self.has_host():
            raise self._port.no_host()
        if not self._is_listening:
            self._loop.add_reader(self._port.fileno(), self._receive)
            self._is_listening = True

    def _receive(self) -> None:
        try:
            data = self._port.read()
        except PortAbsent:
            data = b""  # the next call finds out, and says so
        if data is None:
            return
        if not data:
            self._lose_host()
        for number, reply in self._pairing.receive(data):
            answer = self._waiting.get(number)
            if answer is not None and not answer.done():
                answer.set_result(reply)

    def _lose_host(self) -> None:
        self._is_greeted = False
        self._has_answered = False
        self._pairing.forget()
        if self._is_listening:
            self._loop.remove_reader(self._port.fileno())
            self._is_listening = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._port.no_host())
