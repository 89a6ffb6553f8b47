# SPDX-License-Identifier: Apache-2.0
"""What runs where, for the accounting of energy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.controller import energy
from orchestrator.controller.actions import Report, Severity
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.energy.observer import VCpuPlan
from orchestrator.power.topology import CpuLocation
from orchestrator.values.domain import DomainState, PCpu, QemuThread
from orchestrator.values.domain_settings import Mode
from tests.controller.simulated_host import NOTHING, SimulatedHost
from tests.controller.specs import domain, topology, vcpu

HIGHEST_KHZ = 3_001_000
SPEC = domain(vcpus=(vcpu(0, 0), vcpu(1, 1, 2)))


def build(host: SimulatedHost) -> SimulatedHost:
    host.domains[SPEC.uuid] = SPEC
    host.start()
    host.settle()
    return host


def test_vcpus_and_what_decides_their_frequency() -> None:
    host = build(SimulatedHost())

    plan = energy.build_plan(host.inventory)

    found = plan.domains[SPEC.uuid]
    assert found.vcpus == {
        0: VCpuPlan(group=0, clock_groups=(0,), core=0, highest_khz=HIGHEST_KHZ),
        1: VCpuPlan(group=None, clock_groups=(1, 2), core=None, highest_khz=0),
    }
    assert found.is_enforced
    assert found.other_groups == ()
    assert plan.cpus == 8
    assert plan.packages[0].cores == 8
    assert plan.packages[0].steps_khz[-1] == HIGHEST_KHZ


def test_domains_that_are_known_are_not_planned_again() -> None:
    host = build(SimulatedHost())
    known = energy.build_plan(host.inventory).domains

    plan = energy.build_plan(host.inventory, known)

    assert plan.domains[SPEC.uuid] is known[SPEC.uuid]
    assert plan == energy.build_plan(host.inventory)


def test_threads_of_a_core_decide_its_frequency_together() -> None:
    both = frozenset({PCpu(0), PCpu(4)})
    known = replace(
        topology(),
        locations={
            PCpu(n): CpuLocation(core=PCpu(n % 4), package=n % 4 // 2) for n in range(8)
        },
        coordinated=dict.fromkeys(both, both),
    )
    host = build(SimulatedHost(topology=known))

    plan = energy.build_plan(host.inventory)

    assert plan.domains[SPEC.uuid].vcpus[0].clock_groups == (0, 4)
    assert {n: (it.cores, sorted(it.groups)) for n, it in plan.packages.items()} == {
        0: (2, [0, 1, 4, 5]),
        1: (2, [2, 3, 6, 7]),
    }
    assert energy.package_of(host.inventory, PCpu(7)) == 1


def test_emulator_threads_run_on_their_own_cpus() -> None:
    threads = (QemuThread(name="emulator", pinning=frozenset({PCpu(6), PCpu(7)})),)
    host = SimulatedHost()
    host.domains[SPEC.uuid] = replace(SPEC, threads=threads)
    host.start()
    host.settle()

    plan = energy.build_plan(host.inventory)

    assert plan.domains[SPEC.uuid].other_groups == (6, 7)


def test_domains_in_mode_observe_are_not_enforced() -> None:
    host = build(SimulatedHost(config=Config(mode=Mode.OBSERVE)))

    assert not energy.build_plan(host.inventory).domains[SPEC.uuid].is_enforced


def test_domains_that_are_off_draw_nothing() -> None:
    host = SimulatedHost()
    host.domains[SPEC.uuid] = replace(SPEC, state=DomainState.SHUTOFF, run=-1)
    host.start()
    host.settle()

    assert energy.build_plan(host.inventory).domains == {}
    assert energy.running(host.inventory) == {}


def test_a_host_without_clock_groups_has_packages() -> None:
    bare = replace(topology(), groups=())
    host = SimulatedHost(topology=bare)
    host.start()
    host.settle()

    plan = energy.build_plan(host.inventory)

    assert plan.packages[0].steps_khz
    assert energy.build_plan(SimulatedHost(topology=NOTHING).inventory).packages == {}


def test_taken_groups_run_at_their_grants() -> None:
    host = build(SimulatedHost())
    host.inventory.groups[0].stage = GroupStage.TAKEN

    assert energy.list_taken(host.inventory) == {0}
    assert energy.running(host.inventory).keys() == {SPEC.uuid}


@pytest.mark.parametrize(
    ("problem", "severity"), [("psys is odd", Severity.WARNING), ("", Severity.INFO)]
)
def test_problems_of_meters_are_reported(problem: str, severity: Severity) -> None:
    host = build(SimulatedHost())

    (report,) = host.react(e.MetersDoubted(problem))

    assert isinstance(report, Report)
    assert (report.kind, report.severity) == ("energy", severity)
    assert report.text == problem or not problem
