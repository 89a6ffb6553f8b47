# SPDX-License-Identifier: Apache-2.0
"""Reading frequencies in a thread, from a kernel that may block."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.obtained import ObtainedFrequencies
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import ClockReading, Topology, read_topology
from orchestrator.reporting.kernel_frequencies import KernelFrequencies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLICY = "devices/system/cpu/cpufreq/policy{}/{}"


class Host:
    def __init__(self, directory: Path) -> None:
        lay_out(directory / "sys", cpus=2)
        self.tree = CpuTree(directory / "sys")
        self.obtained = ObtainedFrequencies()
        self.topology: Topology = read_topology(self.tree)

    def frequencies(self) -> KernelFrequencies:
        return KernelFrequencies(self.tree, lambda: self.topology.groups, self.obtained)

    def path(self, number: int, name: str = "scaling_cur_freq") -> Path:
        return self.tree.root / POLICY.format(number, name)

    def delay(self, number: int) -> Callable[[], None]:
        """Make reads of a frequency block until the returned function is called."""
        path = self.path(number)
        path.unlink()
        os.mkfifo(path)

        def release() -> None:
            with path.open("wb"):  # waits for the reader, as the reader waits for this
                pass

        return release


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_frequencies_and_governors_are_current(host: Host) -> None:
    async def run() -> None:
        frequencies = host.frequencies()
        assert frequencies.latest == {}
        await frequencies.refresh()
        assert frequencies.latest[0].governor == "schedutil"
        host.path(0, "scaling_governor").write_text("performance\n")
        host.path(0, "scaling_setspeed").write_text("1200000\n")
        await frequencies.refresh()
        now = ClockReading(current_khz=1_200_000, governor="performance")
        assert frequencies.latest[0] == now

    asyncio.run(run())


def test_an_unreadable_governor_is_the_last_known_one(host: Host) -> None:
    async def run() -> None:
        frequencies = host.frequencies()
        host.path(1, "scaling_governor").unlink()
        await frequencies.refresh()
        assert frequencies.latest[1].governor == "schedutil"

    asyncio.run(run())


def test_a_kernel_that_blocks_delays_only_the_callers(
    host: Host,
) -> None:
    async def run() -> None:
        frequencies, release = host.frequencies(), host.delay(1)
        refreshing = asyncio.create_task(frequencies.refresh())
        await asyncio.to_thread(release)  # the loop must run, or this hangs
        await refreshing
        assert set(frequencies.latest) == {0, 1}

    asyncio.run(run())


def test_calls_during_a_read_share_the_next_one(host: Host) -> None:
    async def run() -> None:
        frequencies, first_half, second_half = (
            host.frequencies(),
            host.delay(0),
            host.delay(1),
        )
        first = asyncio.create_task(frequencies.refresh())
        await asyncio.to_thread(first_half)
        host.path(0, "scaling_governor").write_text("performance\n")
        later = [asyncio.create_task(frequencies.refresh()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(second_half)
        await first
        assert frequencies.latest[0].governor == "schedutil"
        assert not any(task.done() for task in later)
        await asyncio.to_thread(first_half)
        await asyncio.to_thread(second_half)
        await asyncio.gather(*later)
        assert frequencies.latest[0].governor == "performance"

    asyncio.run(run())


def test_a_cancelled_call_does_not_affect_others(host: Host) -> None:
    async def run() -> None:
        frequencies, release = host.frequencies(), host.delay(1)
        impatient = asyncio.create_task(frequencies.refresh())
        patient = asyncio.create_task(frequencies.refresh())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.to_thread(release)
        await patient
        assert set(frequencies.latest) == {0, 1}

    asyncio.run(run())
