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
from tests.guest.host import ServingHost, port_of
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    InProcessMonitor,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 20.0


class Host:
    """A host that answers by hand."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.sock = sock

    async def take(self) -> bytes:
        packet = b""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            while len(packet) < SIZE:
                packet += await loop.sock_recv(self.sock, SIZE - len(packet))
        return packet

    async def give(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def echo(self) -> None:
        """Acknowledge everything but CONNECT."""
        while True:
            packet = await self.take()
            if decode(packet).command != Command.CONNECT:
                await self.give(packet)


@contextlib.asynccontextmanager
async def pair(timeout_s: float) -> AsyncIterator[tuple[AsyncVCpuClock, Host]]:
    ours, theirs = socket.socketpair()
    port = Port(ours.detach())
    with theirs:
        async with AsyncVCpuClock(0, timeout_s=timeout_s, port=port) as clock:
            yield clock, Host(theirs)


def test_demands_move_the_clock_before_they_return(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    clocks = []

    async def talk() -> None:
        port = port_of(guest)
        async with AsyncVCpuClock(0, timeout_s=PATIENCE_S, port=port) as clock:
            for demand in (
                clock.freq_disable_turbo,
                clock.freq_down,
                clock.freq_min,
                clock.freq_max,
            ):
                await demand()
                clocks.append(monitor.frequency())
            monitor.define_domain(is_enforced=False)
            with pytest.raises(RequestRefused):
                await clock.freq_up()

    with ServingHost(monitor):
        asyncio.run(talk())
    assert clocks == [NOMINAL, MIDDLE, LOWEST, NOMINAL]


def test_calls_that_overlap_get_their_own_answers() -> None:
    async def talk() -> list[object]:
        async with pair(PATIENCE_S) as (clock, host):
            first = asyncio.create_task(clock.freq_max())
            assert decode(await host.take()).command == Command.CONNECT
            await host.give(await host.take())
            await host.give(await host.take())
            await first
            calls = (clock.freq_up(), clock.freq_down(), clock.freq_min())
            tasks = asyncio.gather(*calls, return_exceptions=True)
            packets = [await host.take() for _ in calls]
            # In one piece, in another order, and one of them a refusal.
            middle = encode_answer(packets[1], Answer.NACK)
            await host.give(packets[2] + packets[0] + middle)
            return list(await tasks)

    up, down, lowest = asyncio.run(talk())
    assert (up, lowest) == (None, None)
    assert isinstance(down, RequestRefused)


def test_an_answer_that_is_missing_is_an_error_and_a_late_one_is_dropped() -> None:
    async def talk() -> None:
        async with pair(0.01) as (clock, host):
            with pytest.raises(AnswerMissing, match="max for vCPU 0"):
                await clock.freq_max()
            for _ in range(8):
                await host.give(await host.take())
            echo = asyncio.create_task(host.echo())
            while True:  # 10 ms are short on a busy machine
                with contextlib.suppress(AnswerMissing):
                    await clock.freq_min()
                    break
            echo.cancel()

    asyncio.run(talk())


def test_a_host_that_hangs_up_ends_the_calls_that_wait() -> None:
    async def talk() -> None:
        async with pair(PATIENCE_S) as (clock, host):
            call = asyncio.create_task(clock.freq_max())
            await host.take()
            await host.take()
            host.sock.close()
            with pytest.raises(HostAbsent):
                await call
            assert not clock.has_host()
            with pytest.raises(HostAbsent):
                await clock.freq_max()

    asyncio.run(talk())


def calls_of(kind: type[VCpuClock | AsyncVCpuClock]) -> dict[str, tuple[object, ...]]:
    """What can be called: parameters and what comes back, with their types' names."""
    return {
        name: (inspect.signature(call), inspect.getdoc(call))
        for name, call in vars(kind).items()
        if inspect.isfunction(call) and not name.startswith("_") and name != "exit"
    }


def test_a_coroutine_has_the_name_the_types_and_the_words_of_its_blocking_call() -> (
    None
):
    assert calls_of(AsyncVCpuClock) == calls_of(VCpuClock)
    assert "has_host" in calls_of(VCpuClock)


def test_calls_that_begin_together_greet_the_host_once() -> None:
    async def talk() -> list[int]:
        async with pair(PATIENCE_S) as (clock, host):
            calls = asyncio.gather(clock.freq_max(), clock.freq_min())
            packets = []
            for _ in range(4):
                packet = await host.take()
                packets.append(decode(packet))
                if packets[-1].command != Command.CONNECT:
                    await host.give(packet)
            await calls
            return [packet.command for packet in packets]

    assert asyncio.run(talk()) == [Command.CONNECT, *[Command.CPU_POWER] * 3]


def test_a_clock_that_is_left_ends_the_calls_that_wait() -> None:
    async def talk() -> None:
        async with pair(PATIENCE_S) as (clock, host):
            call = asyncio.create_task(clock.change(Unit.SCALE_UP))
            await host.take()
            clock.exit()
            clock.exit()
            with pytest.raises(HostAbsent):
                await call

    asyncio.run(talk())
