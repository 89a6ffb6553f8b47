# SPDX-License-Identifier: Apache-2.0
"""Frequency requests and queries for one vCPU, over its port: asyncio.

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
from orchestrator.guest import calls
from orchestrator.guest.clock import (
    CONNECT_TIMEOUTS,
    TIMEOUT_S,
    missing_answer,
    new_seed,
)
from orchestrator.guest.pairing import Pairing
from orchestrator.guest.port import Port, open_port

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.guest.calls import Call, VCpuCapabilities
    from orchestrator.guest.energy import Energy

T = TypeVar("T")


class AsyncVCpuClock:
    """`VCpuClock` with coroutines; see there for the errors of the calls.

    Synchronization: the thread of the event loop in which it was created.
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
            PortRefused: another program has it open, or permission was denied.
        """
        self.vcpu = vcpu
        self._timeout_s = timeout_s
        self._name = vm_name.encode()
        self._loop = asyncio.get_running_loop()
        self._port = open_port(vcpu) if port is None else port
        self._pairing = Pairing(new_seed())
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._connecting = asyncio.Lock()
        self._is_connected = False
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
        """Close the port; calls that wait for an answer raise `HostAbsent`."""
        if self._port.fileno() >= 0:
            self._forget_host()
            self._port.close()

    def has_host(self) -> bool:
        """Return whether a host is connected now."""
        if not self._port.has_host():
            self._forget_host()
            return False
        return True

    # Requests

    async def freq_up(self) -> None:
        """Request one step up."""
        await self.change(Unit.SCALE_UP)

    async def freq_down(self) -> None:
        """Request one step down."""
        await self.change(Unit.SCALE_DOWN)

    async def freq_min(self) -> None:
        """Request the lowest allowed frequency."""
        await self.change(Unit.SCALE_MIN)

    async def freq_max(self) -> None:
        """Request the highest allowed frequency."""
        await self.change(Unit.SCALE_MAX)

    async def freq_enable_turbo(self) -> None:
        """Allow the turbo step, and request it."""
        await self.change(Unit.ENABLE_TURBO)

    async def freq_disable_turbo(self) -> None:
        """Forbid the turbo step, and request the nominal one."""
        await self.change(Unit.DISABLE_TURBO)

    async def change(self, unit: Unit) -> None:
        """Request a change by its wire value."""
        await self._call(calls.change_frequency(self.vcpu, unit))

    # Queries

    async def query_freq(self, vcpu: int | None = None) -> int | None:
        """Return the frequency of this vCPU, or of another one of the VM, in kHz.

        None: not known to the host.
        """
        return await self._call(calls.query_frequency(self._or_own(vcpu), self._name))

    async def query_freqs(self) -> dict[int, int | None]:
        """Return the frequencies of all vCPUs of the VM, in kHz (8 vCPUs at most)."""
        return await self._call(calls.query_all_frequencies(self._name))

    async def query_caps(self, vcpu: int | None = None) -> VCpuCapabilities:
        """Return the capabilities of this vCPU, or of another one of the VM."""
        return await self._call(
            calls.query_capabilities(self._or_own(vcpu), self._name)
        )

    async def query_all_caps(self) -> dict[int, VCpuCapabilities]:
        """Return the capabilities of all vCPUs of the VM (8 vCPUs at most)."""
        return await self._call(calls.query_all_capabilities(self._name))

    async def query_energy(self) -> Energy:
        """Return what the VM draws and saves; DPDK's own host does not answer this."""
        return await self._call(calls.query_energy(self._name))

    # Policies

    async def send_policy(self, policy: PolicyPacket) -> None:
        """Request the host to apply a policy, replacing the previous one."""
        await self._call(calls.install_policy(policy))

    async def remove_policy(self) -> None:
        """Request the host to remove the policy; hosts do not answer this."""
        self._listen()
        self._send(calls.encode_removal(self._name))

    # Internals

    def _or_own(self, vcpu: int | None) -> int:
        return self.vcpu if vcpu is None else vcpu

    async def _call(self, call: Call[T]) -> T:
        self._listen()
        if call.needs_connect:
            async with self._connecting:
                if not self._is_connected:
                    await self._connect()
        try:
            return await self._exchange(call, self._timeout_s)
        except AnswerMissing:
            # The host may have been replaced by one that needs CONNECT.
            self._is_connected = self._is_connected and not self._has_answered
            raise

    async def _connect(self) -> None:
        """Send CONNECT as `VCpuClock` does before its first request."""
        self._send(encode_connect())
        call = calls.change_frequency(self.vcpu, Unit.SCALE_MAX)
        for multiple in CONNECT_TIMEOUTS:
            if await self._is_acknowledged(call, multiple * self._timeout_s):
                break
        self._is_connected = True

    async def _is_acknowledged(self, call: Call[None], timeout_s: float) -> bool:
        try:
            await self._exchange(call, timeout_s)
        except AnswerMissing:
            return False
        except RequestRefused:
            pass
        return True

    async def _exchange(self, call: Call[T], timeout_s: float) -> T:
        number, packet = self._pairing.register(call)
        try:
            self._send(packet)
            answer = self._waiting[number] = self._loop.create_future()
            reply = await asyncio.wait_for(answer, timeout_s)
        except asyncio.TimeoutError:
            raise missing_answer(call, timeout_s) from None
        finally:
            self._waiting.pop(number, None)
            self._pairing.cancel(number)
        self._has_answered = True
        return call.value_of(reply)

    def _send(self, packet: bytes) -> None:
        try:
            self._port.write(packet)
        except HostAbsent:
            self._forget_host()
            raise

    def _listen(self) -> None:
        """Watch the port, but not without a host: it would always be readable."""
        if not self.has_host():
            raise self._port.no_host()
        if not self._is_listening:
            self._loop.add_reader(self._port.fileno(), self._receive)
            self._is_listening = True

    def _receive(self) -> None:
        try:
            data = self._port.read()
        except PortAbsent:
            data = b""  # the next call raises the error
        if data is None:
            return
        if not data:
            self._forget_host()
        for number, reply in self._pairing.receive(data):
            answer = self._waiting.get(number)
            if answer is not None and not answer.done():
                answer.set_result(reply)

    def _forget_host(self) -> None:
        self._is_connected = False
        self._has_answered = False
        self._pairing.reset()
        if self._is_listening:
            self._loop.remove_reader(self._port.fileno())
            self._is_listening = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._port.no_host())
