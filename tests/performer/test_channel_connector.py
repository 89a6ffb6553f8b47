# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.protocol import Request, Unit, encode
from tests.performer.connecting import accept, connecting

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.performer.connecting import Connecting


def with_connector(
    test: Callable[[Connecting], Awaitable[None]],
) -> Callable[[Path], None]:
    """Run a test with a connector of its own."""

    async def run(directory: Path) -> None:
        async with connecting(directory) as host:
            await test(host)

    @wraps(test)
    def wrapped(tmp_path: Path) -> None:
        asyncio.run(run(tmp_path))

    # pytest would look there for the test's arguments
    del wrapped.__dict__["__wrapped__"]
    return wrapped


@with_connector
async def test_an_accepted_connection_is_the_monitor_s(host: Connecting) -> None:
    with host.listen(0) as listener:
        host.connect(0)
        with await accept(listener) as guest:
            await host.wait_for(0, events.ChannelConnected)
            packet = encode(Request(0, Unit.SCALE_MAX))
            assert len(await _answer(guest, packet)) == len(packet)


@with_connector
async def test_a_channel_that_another_program_holds_delays_no_other(
    host: Connecting,
) -> None:
    with host.listen(0) as held, host.listen(1) as free:
        host.connect(0)
        host.connect(1)
        with await accept(free):
            await host.wait_for(1, events.ChannelConnected)
        reason = await host.wait_for(0, events.ChannelContended)
        assert "another program is connected" in reason
        with await accept(held) as abandoned:
            assert not await asyncio.get_running_loop().sock_recv(abandoned, 1)


@with_connector
async def test_a_process_that_is_not_the_domain_s_qemu_is_not_connected_to(
    host: Connecting,
) -> None:
    host.qemu_pid = os.getppid()
    with host.listen(0) as listener:
        host.connect(0)
        with await accept(listener):
            reason = await host.wait_for(0, events.ChannelContended)
    assert f"the domain's QEMU (pid {os.getppid()})" in reason


@with_connector
async def test_a_socket_below_a_directory_of_the_run_is_qemu_s(
    host: Connecting,
) -> None:
    host.qemu_pid = os.getppid()
    host.directory = host.directory / "1-dpdk-0"
    host.directory.mkdir()
    with host.listen(0) as listener:
        host.connect(0)
        with await accept(listener):
            await host.wait_for(0, events.ChannelConnected)


@with_connector
async def test_a_cancelled_attempt_has_no_outcome(host: Connecting) -> None:
    with host.listen(0) as listener, host.listen(1) as other:
        host.connect(0)
        await _pass()
        host.connector.cancel(host.record.spec.uuid, 0)
        with await accept(listener) as abandoned:
            assert not await asyncio.get_running_loop().sock_recv(abandoned, 1)
        host.connect(1)
        with await accept(other):
            await host.wait_for(1, events.ChannelConnected)
    assert host.outcomes == []


@with_connector
async def test_a_later_attempt_replaces_one_that_waits_for_its_delay(
    host: Connecting,
) -> None:
    host.connect(0, delay_s=3_600)
    host.connect(0)
    await host.wait_for(0, events.ChannelAbsent)
    host.connect(0, delay_s=0.001)
    await host.wait_for(0, events.ChannelAbsent)
    assert host.outcomes == []


@with_connector
async def test_without_a_monitor_nothing_is_connected(host: Connecting) -> None:
    host.inventory.is_monitor_up = False
    host.connect(0)
    await _pass()
    host.inventory.is_monitor_up = True
    host.connect(1)
    await host.wait_for(1, events.ChannelAbsent)
    assert host.outcomes == []


async def _answer(guest: socket.socket, packet: bytes) -> bytes:
    """Send a packet until it is answered: late answers are dropped."""
    loop = asyncio.get_running_loop()
    while True:
        await loop.sock_sendall(guest, packet)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                return await loop.sock_recv(guest, len(packet))


async def _pass() -> None:
    """Let the attempts begin."""
    await asyncio.sleep(0)
