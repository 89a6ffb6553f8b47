# SPDX-License-Identifier: Apache-2.0
"""`AsyncVCpuClock`, with the parts of the monitor and with a scripted host."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Command, Unit, decode, encode_answer
from orchestrator.errors import AnswerMissing, HostAbsent, RequestRefused
from orchestrator.guest.async_clock import AsyncVCpuClock
from orchestrator.guest.clock import VCpuClock
from orchestrator.guest.port import Port
from tests.guest.energy_figures import ENERGY, FIGURES
from tests.guest.serving_monitor import ServingMonitor, port_of
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    InProcessMonitor,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S = 20.0


class Host:
    """The host's end of a channel, scripted by a test."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.sock = sock

    async def receive(self) -> bytes:
        packet = b""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_S):
            while len(packet) < SIZE:
                packet += await loop.sock_recv(self.sock, SIZE - len(packet))
        return packet

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def echo(self) -> None:
        """Acknowledge everything but CONNECT."""
        while True:
            packet = await self.receive()
            if decode(packet).command != Command.CONNECT:
                await self.send(packet)


@contextlib.asynccontextmanager
async def pair(timeout_s: float) -> AsyncIterator[tuple[AsyncVCpuClock, Host]]:
    ours, theirs = socket.socketpair()
    port = Port(ours.detach())
    with theirs:
        async with AsyncVCpuClock(0, timeout_s=timeout_s, port=port) as clock:
            yield clock, Host(theirs)


def test_the_energy_of_the_vm_is_queried(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.write_energy(FIGURES)

    async def run() -> None:
        port = port_of(guest)
        async with AsyncVCpuClock(0, timeout_s=TIMEOUT_S, port=port) as clock:
            assert await clock.query_energy() == ENERGY

    with ServingMonitor(monitor):
        asyncio.run(run())


def test_requests_are_applied_before_they_return(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    frequencies = []

    async def run() -> None:
        port = port_of(guest)
        async with AsyncVCpuClock(0, timeout_s=TIMEOUT_S, port=port) as clock:
            for request in (
                clock.freq_disable_turbo,
                clock.freq_down,
                clock.freq_min,
                clock.freq_max,
            ):
                await request()
                frequencies.append(monitor.frequency())
            monitor.define_domain(is_enforced=False)
            with pytest.raises(RequestRefused):
                await clock.freq_up()

    with ServingMonitor(monitor):
        asyncio.run(run())
    assert frequencies == [NOMINAL, MIDDLE, LOWEST, NOMINAL]


def test_overlapping_calls_get_their_own_answers() -> None:
    async def run() -> list[object]:
        async with pair(TIMEOUT_S) as (clock, host):
            first = asyncio.create_task(clock.freq_max())
            assert decode(await host.receive()).command == Command.CONNECT
            await host.send(await host.receive())
            await host.send(await host.receive())
            await first
            calls = (clock.freq_up(), clock.freq_down(), clock.freq_min())
            tasks = asyncio.gather(*calls, return_exceptions=True)
            packets = [await host.receive() for _ in calls]
            # In a single write, in another order, one of them a refusal.
            middle = encode_answer(packets[1], Answer.NACK)
            await host.send(packets[2] + packets[0] + middle)
            return list(await tasks)

    up, down, lowest = asyncio.run(run())
    assert (up, lowest) == (None, None)
    assert isinstance(down, RequestRefused)


def test_a_missing_answer_is_an_error_and_a_late_one_is_dropped() -> None:
    async def run() -> None:
        async with pair(0.01) as (clock, host):
            with pytest.raises(AnswerMissing, match="max for vCPU 0"):
                await clock.freq_max()
            for _ in range(8):
                await host.send(await host.receive())
            echo = asyncio.create_task(host.echo())
            while True:  # 10 ms may be too short on a busy machine
                with contextlib.suppress(AnswerMissing):
                    await clock.freq_min()
                    break
            echo.cancel()

    asyncio.run(run())


def test_a_host_that_disconnects_fails_the_waiting_calls() -> None:
    async def run() -> None:
        async with pair(TIMEOUT_S) as (clock, host):
            call = asyncio.create_task(clock.freq_max())
            await host.receive()
            await host.receive()
            host.sock.close()
            with pytest.raises(HostAbsent):
                await call
            assert not clock.has_host()
            with pytest.raises(HostAbsent):
                await clock.freq_max()

    asyncio.run(run())


def calls_of(kind: type[VCpuClock | AsyncVCpuClock]) -> dict[str, tuple[object, ...]]:
    """Return the signature and the docstring of each public method."""
    return {
        name: (inspect.signature(call), inspect.getdoc(call))
        for name, call in vars(kind).items()
        if inspect.isfunction(call) and not name.startswith("_") and name != "exit"
    }


def test_each_coroutine_matches_its_blocking_call() -> None:
    assert calls_of(AsyncVCpuClock) == calls_of(VCpuClock)
    assert "has_host" in calls_of(VCpuClock)


def test_concurrent_first_calls_send_connect_once() -> None:
    async def run() -> list[int]:
        async with pair(TIMEOUT_S) as (clock, host):
            calls = asyncio.gather(clock.freq_max(), clock.freq_min())
            packets = []
            for _ in range(4):
                packet = await host.receive()
                packets.append(decode(packet))
                if packets[-1].command != Command.CONNECT:
                    await host.send(packet)
            await calls
            return [packet.command for packet in packets]

    assert asyncio.run(run()) == [Command.CONNECT, *[Command.CPU_POWER] * 3]


def test_closing_the_clock_fails_the_waiting_calls() -> None:
    async def run() -> None:
        async with pair(TIMEOUT_S) as (clock, host):
            call = asyncio.create_task(clock.change(Unit.SCALE_UP))
            await host.receive()
            clock.exit()
            clock.exit()
            with pytest.raises(HostAbsent):
                await call

    asyncio.run(run())
