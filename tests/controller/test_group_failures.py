# SPDX-License-Identifier: Apache-2.0
"""Clock groups that the kernel refuses, or that change while they are worked on."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.config import Config, PowerConfig
from orchestrator.controller import actions as a
from orchestrator.controller import groups
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.controller.records import GroupRecord
from orchestrator.monitor.link.commands import AnswerTake
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain, topology, vcpu

if TYPE_CHECKING:
    from orchestrator.power.topology import Topology


def served(config: Config | None = None, cpus: Topology | None = None) -> SimulatedHost:
    spec = domain(vcpus=(vcpu(0, 0),))
    host = SimulatedHost(
        config or Config(), cpus or topology(), domains={spec.uuid: spec}
    )
    host.start()
    host.settle()
    return host


def texts(decided: list[a.Action]) -> list[str]:
    return [action.text for action in decided if isinstance(action, a.Report)]


def test_a_frequency_that_the_kernel_refuses_has_the_topology_read_again() -> None:
    host = served()
    decided = host.react(e.WriteRefused(0, errno.EINVAL))
    assert a.ReadTopology() in decided
    assert len(texts(decided)) == 1


def fail_to_prepare(host: SimulatedHost) -> list[a.Action]:
    """Perform what waits until group 0 is to be prepared, and let that fail."""
    while a.PrepareGroup(0) not in host.to_do:
        host.step(0)
    host.to_do.remove(a.PrepareGroup(0))
    return host.react(e.GroupFailed(0, "the kernel refused"))


def test_the_same_failure_is_reported_once() -> None:
    spec = domain(vcpus=(vcpu(0, 0),))
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    first = fail_to_prepare(host)
    host.react(e.ResyncDue())
    second = fail_to_prepare(host)
    assert len(texts(first)) == 1
    assert texts(second) == []


def test_an_override_during_the_restore_takes_the_group_again() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    host.react(e.GroupYielded(0))
    host.react(e.OverrideSet(0, 1_200_000))
    assert host.taken_groups == {0}  # the restore is still under way
    host.settle()
    assert host.taken_groups == {0}
    assert host.inventory.groups[0].stage is GroupStage.TAKEN


def test_a_vote_for_a_group_that_is_taken_or_failed_is_answered_at_once() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    (taken,) = host.react(e.TakeWanted(0))
    failing = served()
    failing.refusing.add(0)
    failing.react(e.TakeWanted(0))
    failing.settle()
    (failed,) = failing.react(e.TakeWanted(0))
    assert type(taken) is type(failed)
    assert taken != failed


def test_an_override_takes_a_prepared_group() -> None:
    host = served()
    assert a.TakeGroup(0) in host.react(e.OverrideSet(0, 1_200_000))


def test_a_vote_for_a_group_that_no_domain_needs_is_refused() -> None:
    # The group of a CPU that no domain is pinned to: the monitor is not trusted.
    host = SimulatedHost()
    host.start()
    host.settle()
    assert host.react(e.TakeWanted(0)) == [AnswerTake(0, is_taken=False)]
    host.settle()
    assert host.inventory.groups[0].stage is GroupStage.IDLE
    assert host.taken_groups == set()


def test_a_refused_write_of_a_group_that_is_gone_is_not_reported() -> None:
    host = SimulatedHost()
    host.start()
    host.settle()
    assert host.react(e.WriteRefused(99, 22)) == []


def test_a_group_that_is_not_known_is_not_prepared() -> None:
    assert groups.need(SimulatedHost().inventory, [99]) == []


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_group_with_a_cpu_of_the_host_is_slowed_only_if_it_is_shared(
    *, is_shared: bool
) -> None:
    config = Config(power=PowerConfig(share_with_host=is_shared))
    host = served(config, topology(shared=2))
    sent = host.inventory.groups[0].sent
    assert sent is not None
    assert sent.has_host_cpus is not is_shared


def test_an_idle_group_whose_cpu_goes_offline_is_forgotten() -> None:
    spec = domain(vcpus=(vcpu(0, 0),), channels=())
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    decided = host.react(e.TopologyRead(topology(offline=[0])))
    assert 0 not in host.inventory.groups
    assert a.PrepareGroup(0) not in decided


def test_a_new_monitor_is_sent_the_groups_that_the_last_one_knew() -> None:
    host = served()
    known = host.inventory.groups[0].sent
    host.inventory.groups[99] = GroupRecord(replace(topology().groups[0], number=99))
    sent = [x for x in host.react(e.MonitorStarted()) if isinstance(x, type(known))]
    assert known in sent
    assert len(sent) == len(host.inventory.groups) - 1


def test_a_cpu_that_stays_offline_is_reported_once() -> None:
    host = SimulatedHost(topology=topology(offline=[3]))
    host.start()
    host.settle()
    assert sum("CPU 3" in report.text for report in host.reports) == 1
    host.react(e.TopologyRead(topology(offline=[3, 4])))
    host.settle()
    assert sum("CPU 3" in report.text for report in host.reports) == 1
    assert sum("CPU 4" in report.text for report in host.reports) == 1
