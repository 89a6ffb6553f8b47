# SPDX-License-Identifier: Apache-2.0
"""The counters of packages as a domain's QEMU reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator.config import Config, DomainRule
from orchestrator.energy.rapl import in_units
from orchestrator.performer.virtual_packages import VirtualPackages
from orchestrator.values.domain import DomainState
from tests.performer.energy_host import EnergyHost

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.performer.energy_sampler import EnergySampler

RULE = DomainRule(match="vm-0", rapl=True)
SECONDS = 5


class Counted:
    """A host of ten CPUs, whose four idle ones are last, after some seconds."""

    def __init__(self, root: Path, *rules: DomainRule) -> None:
        self.host = EnergyHost(root, config=Config(domain=rules))
        inventory = self.host.host.inventory
        self.packages = VirtualPackages(inventory, lambda: self.host.now_s)
        sampler = self.host.sampler()
        sampler.load(root / "calibration")
        sampler.sample(self.host.job())
        self.joules = 0.0
        self.last = self._add_second(sampler)
        for _ in range(1, SECONDS):
            self.last = self._add_second(sampler)
        sampler.close()
        self.host.now_s += 1.0

    def _add_second(self, sampler: EnergySampler) -> EnergyInterval:
        interval = self.host.sample(sampler, watts=60.0).interval
        self.joules += interval.domains[self.host.uuids[0]].joules
        self.packages.add(interval)
        return interval

    def pass_second(self) -> None:
        self.host.now_s += 1.0


def test_a_domain_s_share_of_its_package_is_what_it_drew(tmp_path: Path) -> None:
    counted = Counted(tmp_path, RULE)
    cpus, vcpus = counted.host.cpus, 4
    share = vcpus / cpus  # of the package's CPU time
    drawn = in_units(counted.joules)
    assert counted.packages.read("vm-0", 0) * share == pytest.approx(drawn, rel=1e-3)
    assert counted.packages.read("vm-0", cpus - 1) == counted.packages.read("vm-0", 0)


def test_it_is_off_by_default(tmp_path: Path) -> None:
    counted = Counted(tmp_path, RULE)
    assert counted.packages.read("vm-0", 0) > 0
    assert counted.packages.read("vm-1", 0) == 0


@pytest.mark.parametrize(("name", "pcpu"), [("another", 0), ("vm-0", 999)])
def test_what_is_unknown_reads_zero(tmp_path: Path, name: str, pcpu: int) -> None:
    assert Counted(tmp_path, RULE).packages.read(name, pcpu) == 0


def test_a_domain_that_has_ended_reads_zero_and_begins_again_at_zero(
    tmp_path: Path,
) -> None:
    counted = Counted(tmp_path, RULE)
    uuid = counted.host.uuids[0]
    record = counted.host.host.inventory.domains[uuid]
    running = record.spec
    record.spec = replace(running, state=DomainState.SHUTOFF, run=-1)
    assert counted.packages.read("vm-0", 0) == 0
    others = {it: part for it, part in counted.last.domains.items() if it != uuid}
    counted.packages.add(replace(counted.last, domains=others))
    record.spec = running
    assert counted.packages.read("vm-0", 0) == 0
    counted.packages.add(counted.last)
    assert counted.packages.read("vm-0", 0) == 0
    counted.pass_second()
    assert counted.packages.read("vm-0", 0) > 0


def test_cpus_are_counted_as_qemu_counts_them(tmp_path: Path) -> None:
    """It stops at the first CPU that is offline."""
    counted = Counted(tmp_path, RULE)
    whole = counted.packages.read("vm-0", 0)
    topology = counted.host.host.inventory.topology
    counted.host.host.inventory.topology = replace(
        topology, online=topology.online - {6}
    )
    half = counted.packages.read("vm-0", 0)
    assert half == pytest.approx(whole * 6 / counted.host.cpus, abs=1)
    assert counted.packages.read("vm-0", 7) == half
