# SPDX-License-Identifier: Apache-2.0
"""Grants without effect, because the hardware follows a coordinated CPU."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.config import Config, PowerConfig
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.monitor.client.views import MonitorSnapshot
from orchestrator.power.topology import ClockReading
from orchestrator.reporting.status import StatusBuilder
from orchestrator.values.domain import PCpu
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import topology
from tests.reporting.test_status import DAEMON

if TYPE_CHECKING:
    from orchestrator.control import models

LOW, MIDDLE, NOMINAL, TURBO = 1_200_000, 2_000_000, 3_000_000, 3_001_000
UNMANAGED = ClockReading(current_khz=LOW, governor="schedutil")


def cpus_of_cores(
    grants: dict[int, int],
    readings: dict[int, ClockReading] | None = None,
    *,
    unmanaged: int | None = None,
) -> list[models.Cpu]:
    """Return the CPUs of a host whose CPUs N and N + 4 are threads of one core.

    Args:
        grants: kHz, by clock group; the others are not taken.
        readings: what the kernel reports, by clock group.
        unmanaged: a CPU without a clock group.
    """
    cores = {PCpu(n): frozenset({PCpu(n % 4), PCpu(n % 4 + 4)}) for n in range(8)}
    # No domain is pinned to these CPUs, and they are lowered all the same.
    host = SimulatedHost(
        config=Config(power=PowerConfig(share_with_host=True)),
        topology=replace(
            topology(8),
            groups=tuple(g for g in topology(8).groups if g.number != unmanaged),
            coordinated=cores,
        ),
    )
    host.start()
    host.settle()
    for number in grants:
        host.inventory.groups[number].stage = GroupStage.TAKEN
    snapshot = MonitorSnapshot(grants=grants)
    found = dict.fromkeys(range(8), UNMANAGED) | (readings or {})
    builder = StatusBuilder(host.inventory, snapshot, found)
    return list(asyncio.run(builder.build(DAEMON)).cpus)


def test_the_coordinated_cpus_of_each_cpu_are_shown() -> None:
    cpus = cpus_of_cores({})
    assert [cpu.coordinated_cpus for cpu in cpus[:2]] == [(4,), (5,)]
    assert {cpu.held_up_by for cpu in cpus} == {()}


def test_a_sibling_with_governor_performance_holds_a_grant_up() -> None:
    # What the kernel reports can be measured, and is low while the CPU sleeps.
    reading = ClockReading(current_khz=LOW, governor="performance")
    cpu = cpus_of_cores({2: MIDDLE}, {6: reading})[2]
    assert cpu.held_up_by == (6,)
    assert cpu.reason == "held up by CPU 6 (performance, not managed)"


def test_a_sibling_that_runs_higher_holds_a_grant_up() -> None:
    reading = ClockReading(current_khz=2_900_000, governor="schedutil")
    assert cpus_of_cores({2: MIDDLE}, {6: reading})[2].held_up_by == ()
    reading = ClockReading(current_khz=NOMINAL, governor="schedutil")
    cpu = cpus_of_cores({2: MIDDLE}, {6: reading})[2]
    assert cpu.reason == "held up by CPU 6 (schedutil, not managed)"


def test_a_sibling_with_a_higher_grant_holds_the_lower_one_up() -> None:
    cpus = cpus_of_cores({2: LOW, 6: MIDDLE})
    assert cpus[2].reason == "held up by CPU 6 (granted 2.00 GHz)"
    assert (cpus[6].held_up_by, cpus[6].reason) == ((), None)


def test_the_highest_grant_is_never_held_up() -> None:
    reading = ClockReading(current_khz=3_600_000, governor="performance")
    assert cpus_of_cores({2: TURBO}, {6: reading})[2].held_up_by == ()


def test_a_group_that_is_not_taken_is_not_held_up() -> None:
    reading = ClockReading(current_khz=NOMINAL, governor="performance")
    assert cpus_of_cores({}, {6: reading})[2].reason is None


def test_a_sibling_without_a_clock_group_is_not_blamed() -> None:
    cpu = cpus_of_cores({2: LOW}, unmanaged=6)[2]
    assert (cpu.coordinated_cpus, cpu.held_up_by) == ((6,), ())


def test_a_sibling_whose_frequency_is_unknown_is_not_blamed() -> None:
    reading = ClockReading(current_khz=None, governor="schedutil")
    assert cpus_of_cores({2: LOW}, {6: reading})[2].held_up_by == ()
