# SPDX-License-Identifier: Apache-2.0
"""Proposed pinning: of hosts with any layout of cores, threads and clock groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain_templates.pinning import Host, Proposal, propose
from orchestrator.errors import ConfigError
from orchestrator.power.cpus import HostCpu, read_host_cpus
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.values.domain import PCpu
from tests.properties import examples

if TYPE_CHECKING:
    from pathlib import Path


def host(
    cores: int = 8,
    *,
    threads: int = 1,
    nodes: int = 1,
    shared: int = 1,
    taken: str = "",
    isolated: int = 0,
    coordinated: int = 1,
) -> Host:
    """Return a host with CPUs numbered as on Linux: first threads, then second ones.

    `shared` consecutive CPUs are a clock group (0: without cpufreq); the last
    `isolated` cores are isolated; the hardware coordinates the threads of
    `coordinated` consecutive cores.
    """
    cpus = tuple(
        HostCpu(
            pcpu=PCpu(pcpu),
            core=PCpu(pcpu % cores),
            node=pcpu % cores * nodes // cores,
            group=pcpu // shared if shared else None,
            unmanaged="" if shared else "no governor can be set",
            is_isolated=pcpu % cores >= cores - isolated,
            coordinated=frozenset(
                PCpu(other)
                for other in range(cores * threads)
                if other % cores // coordinated == pcpu % cores // coordinated
            ),
        )
        for pcpu in range(cores * threads)
    )
    return Host(cpus=cpus, taken={PCpu(int(n)): "'other'" for n in taken.split()})


def explanation(proposal: Proposal) -> str:
    return "; ".join((*proposal.reasons, "but", *proposal.warnings))


def test_free_cpus_after_the_hosts_first_are_proposed_in_order() -> None:
    proposal = propose(host(), 3)
    assert proposal.pins == (1, 2, 3)
    assert proposal.emulator == {0}
    assert proposal.node == 0
    assert "each vCPU has its own clock group" in proposal.reasons
    assert proposal.warnings == ()


def test_taken_cpus_are_left_out_and_their_owner_is_reported() -> None:
    proposal = propose(host(taken="1 3"), 3)
    assert proposal.pins == (2, 4, 5)
    assert "used by 'other': CPUs 1,3" in proposal.reasons


def test_siblings_stay_together_and_are_not_shared_with_other_domains() -> None:
    proposal = propose(host(4, threads=2, taken="5"), 4)
    assert proposal.pins == (2, 6, 3, 7)
    assert "SMT siblings together" in explanation(proposal)


def test_an_odd_vcpu_splits_a_core_with_a_warning() -> None:
    pairs = Host(
        cpus=tuple(
            HostCpu(pcpu=PCpu(n), core=PCpu(n // 2 * 2), group=n // 2) for n in range(8)
        )
    )
    proposal = propose(pairs, 3)
    assert proposal.pins == (2, 3, 4)
    assert "vCPUs 0-1 share a clock group" in explanation(proposal)
    assert "CPU 5 of the same clock group" in explanation(proposal)


def test_siblings_do_not_count_as_having_clock_groups_of_their_own() -> None:
    proposal = propose(host(4, threads=2), 4)
    assert proposal.pins == (1, 5, 2, 6)
    assert "own clock group" not in explanation(proposal)
    assert (
        "the hardware coordinates the CPUs of these vCPUs, which run at the highest"
        " request among them: vCPUs 0-1; vCPUs 2-3" in proposal.warnings
    )


def test_cpus_that_the_firmware_coordinates_are_not_apart() -> None:
    proposal = propose(host(8, coordinated=4), 2)
    assert proposal.pins == (1, 2)
    assert "own clock group" not in explanation(proposal)
    assert "among them: vCPUs 0-1" in explanation(proposal)
    assert (
        "the hardware coordinates them with CPUs 0,3: a higher frequency there holds"
        " them up" in proposal.warnings
    )


def test_one_thread_of_a_core_depends_on_the_other_one() -> None:
    proposal = propose(host(4, threads=2), 1)
    assert proposal.pins == (1,)
    assert "the hardware coordinates them with CPU 5" in explanation(proposal)


def test_coordinated_cpus_of_one_clock_group_are_reported_once() -> None:
    proposal = propose(host(8, shared=4, coordinated=4), 2)
    assert "share a clock group" in explanation(proposal)
    assert "the hardware coordinates" not in explanation(proposal)


def test_a_clock_group_of_several_cores_is_filled_as_a_whole() -> None:
    assert propose(host(12, shared=4), 4).pins == (4, 5, 6, 7)
    assert propose(host(12, shared=4, taken="5"), 4).pins == (8, 9, 10, 11)


def test_all_cpus_come_from_the_numa_node_that_fits_best() -> None:
    assert propose(host(12, nodes=2), 6).node == 1
    assert propose(host(12, nodes=2, taken="6 7 8"), 3).pins == (9, 10, 11)
    assert propose(host(12, nodes=2), 2, node=1).pins == (6, 7)


def test_a_domain_that_fits_no_node_is_spread_with_a_warning() -> None:
    proposal = propose(host(8, nodes=2), 7)
    assert proposal.pins == (1, 2, 3, 4, 5, 6, 7)
    assert proposal.node is None
    assert "no NUMA node has enough free CPUs: spread over 0-1" in explanation(proposal)


def test_isolated_cpus_are_for_guests_and_the_others_for_qemu() -> None:
    proposal = propose(host(8, isolated=4), 3)
    assert proposal.pins == (4, 5, 6)
    assert proposal.emulator == {0, 1, 2, 3}
    assert "isolcpus" in explanation(proposal)


def test_cpus_of_the_host_come_last_and_with_a_warning() -> None:
    proposal = propose(host(2), 2)
    assert proposal.pins == (1, 0)
    assert proposal.emulator == set()
    assert "host tasks" in explanation(proposal)


def test_cpus_of_domains_that_are_off_come_after_free_ones() -> None:
    planned = Host(cpus=host(4).cpus, planned={PCpu(1): "domain 'off'"})
    assert propose(planned, 2).pins == (2, 3)
    assert propose(planned, 2).warnings == ()
    assert "CPU 1 is also used by domain 'off'" in explanation(propose(planned, 3))


def test_a_host_without_a_usable_scaling_driver_is_pinned_with_a_warning() -> None:
    assert "no frequency can be set: CPUs 1-2 (no governor can be set)" in explanation(
        propose(host(shared=0), 2)
    )


def test_more_vcpus_than_cpus_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"this host has 2 \(0,3\)") as caught:
        propose(host(4, taken="1 2"), 3)
    assert "--pin none" in caught.value.hint
    with pytest.raises(ConfigError, match="NUMA node 7 has 0"):
        propose(host(4), 1, node=7)


HOSTS = st.builds(
    host,
    st.integers(1, 16),
    threads=st.integers(1, 2),
    nodes=st.integers(1, 4),
    shared=st.integers(0, 5),
    isolated=st.integers(0, 16),
    taken=st.lists(st.integers(0, 31).map(str), max_size=12).map(" ".join),
)


@settings(max_examples=examples(200), deadline=None)
@given(HOSTS, st.integers(1, 16))
def test_every_proposal_is_valid_and_uses_free_cpus(some: Host, vcpus: int) -> None:
    free = {cpu.pcpu for cpu in some.cpus} - some.taken.keys()
    if vcpus > len(free):
        with pytest.raises(ConfigError):
            propose(some, vcpus)
        return
    proposal = propose(some, vcpus)
    assert len(set(proposal.pins)) == len(proposal.pins) == vcpus
    assert set(proposal.pins) <= free
    assert not proposal.emulator & set(proposal.pins)
    by_number = {cpu.pcpu: cpu for cpu in some.cpus}
    nodes = {by_number[pcpu].node for pcpu in proposal.pins}
    assert proposal.node == (next(iter(nodes)) if len(nodes) == 1 else None)
    assert propose(some, vcpus) == proposal
    assume("shared with other domains" not in explanation(proposal))
    cores = {by_number[pcpu].core for pcpu in proposal.pins}
    others = {by_number[pcpu].core for pcpu in some.taken if pcpu in by_number}
    host_core = min(some.cpus, key=lambda cpu: cpu.pcpu).core
    assert cores & others <= {host_core}


def test_the_topology_is_read_from_a_tree(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=4, shared=2, sockets=2)
    tree = CpuTree(tmp_path / "sys")
    for pcpu in range(4):
        siblings = tree.cpu_dir / f"cpu{pcpu}/topology/thread_siblings_list"
        siblings.write_text(f"{pcpu % 2},{pcpu % 2 + 2}\n")
    (tree.cpu_dir / "isolated").write_text("2-3\n")
    assert [(it.core, it.node, it.group) for it in read_host_cpus(tree)] == [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 2),
        (1, 1, 2),
    ]
    # The clock groups and the cores connect all of them.
    assert {it.coordinated for it in read_host_cpus(tree)} == {frozenset(range(4))}
    assert [it.pcpu for it in read_host_cpus(tree) if it.is_isolated] == [2, 3]
    machine_slice = tree.root / "fs/cgroup/machine.slice"
    machine_slice.mkdir(parents=True)
    (machine_slice / "cpuset.cpus.effective").write_text("1-3\n")
    assert [it.pcpu for it in read_host_cpus(tree)] == [1, 2, 3]


def test_the_topology_is_read_from_this_machine() -> None:
    cpus = read_host_cpus(CpuTree.host())
    assert {cpu.core for cpu in cpus} <= {cpu.pcpu for cpu in cpus}
    assert propose(Host(cpus=cpus), 1).pins
