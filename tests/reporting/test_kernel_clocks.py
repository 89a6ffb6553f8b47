"""Reading clocks beside the loop, of a kernel that takes its time."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import ClockReading, Topology, read_topology
from orchestrator.reporting.kernel_clocks import Clocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLICY = "devices/system/cpu/cpufreq/policy{}/{}"


class Host:
    def __init__(self, directory: Path) -> None:
        lay_out(directory / "sys", cpus=2)
        self.tree = CpuTree(directory / "sys")
        self.topology: Topology = read_topology(self.tree)

    def clocks(self) -> Clocks:
        return Clocks(self.tree, lambda: self.topology.groups)

    def path(self, number: int, name: str = "scaling_cur_freq") -> Path:
        return self.tree.root / POLICY.format(number, name)

    def delay(self, number: int) -> Callable[[], None]:
        """Have whoever reads a clock wait until the function that is returned."""
        path = self.path(number)
        path.unlink()
        os.mkfifo(path)

        def release() -> None:
            with path.open("wb"):  # waits for the reader, as the reader does for us
                pass

        return release


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_clocks_and_governors_are_what_the_kernel_says_now(host: Host) -> None:
    async def run() -> None:
        clocks = host.clocks()
        assert clocks.latest == {}
        await clocks.refresh()
        assert clocks.latest[0].governor == "schedutil"
        host.path(0, "scaling_governor").write_text("performance\n")
        host.path(0, "scaling_setspeed").write_text("1200000\n")
        await clocks.refresh()
        now = ClockReading(current_khz=1_200_000, governor="performance")
        assert clocks.latest[0] == now

    asyncio.run(run())


def test_a_governor_that_cannot_be_read_is_the_last_known(host: Host) -> None:
    async def run() -> None:
        clocks = host.clocks()
        host.path(1, "scaling_governor").unlink()
        await clocks.refresh()
        assert clocks.latest[1].governor == "schedutil"

    asyncio.run(run())


def test_a_kernel_that_takes_its_time_holds_nobody_but_those_who_ask(
    host: Host,
) -> None:
    async def run() -> None:
        clocks, release = host.clocks(), host.delay(1)
        asking = asyncio.create_task(clocks.refresh())
        await asyncio.to_thread(release)  # the loop turns, or this hangs
        await asking
        assert set(clocks.latest) == {0, 1}

    asyncio.run(run())


def test_who_asks_during_a_reading_gets_the_next_one_and_shares_it(host: Host) -> None:
    async def run() -> None:
        clocks, first_half, second_half = host.clocks(), host.delay(0), host.delay(1)
        first = asyncio.create_task(clocks.refresh())
        await asyncio.to_thread(first_half)
        host.path(0, "scaling_governor").write_text("performance\n")
        later = [asyncio.create_task(clocks.refresh()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(second_half)
        await first
        assert clocks.latest[0].governor == "schedutil"
        assert not any(task.done() for task in later)
        await asyncio.to_thread(first_half)
        await asyncio.to_thread(second_half)
        await asyncio.gather(*later)
        assert clocks.latest[0].governor == "performance"

    asyncio.run(run())


def test_who_hangs_up_takes_nothing_from_the_others(host: Host) -> None:
    async def run() -> None:
        clocks, release = host.clocks(), host.delay(1)
        impatient = asyncio.create_task(clocks.refresh())
        patient = asyncio.create_task(clocks.refresh())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.to_thread(release)
        await patient
        assert set(clocks.latest) == {0, 1}

    asyncio.run(run())
