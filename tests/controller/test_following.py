# SPDX-License-Identifier: Apache-2.0
"""Which clock groups follow the vCPUs of a domain, for its emulator and I/O threads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.config import Config, DomainRule
from orchestrator.controller import actions as a
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.monitor.link import commands as c
from orchestrator.power.topology import CpuLocation
from orchestrator.reporting.followed_domains import find_gaps
from orchestrator.values.domain import DomainState, PCpu, QemuThread
from orchestrator.values.domain_settings import DomainSettings, Mode, ThreadFrequency
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, channel, domain, topology, vcpu

if TYPE_CHECKING:
    from orchestrator.controller.records import DomainRecord
    from orchestrator.values.domain import DomainSpec

FOLLOW = DomainSettings(emulator=ThreadFrequency.FOLLOW)
MIDDLE = 2_000_000


def thread(*pcpus: int, name: str = "emulator") -> QemuThread:
    return QemuThread(name=name, pinning=frozenset(map(PCpu, pcpus)))


def guest(*threads: QemuThread, name: str = "fw", **more: object) -> DomainSpec:
    """Return a domain with vCPUs on CPUs 0 and 1, whose threads follow."""
    values = {"settings": FOLLOW, "threads": threads, **more}
    return domain(name, **values)


def host_with(*specs: DomainSpec, **more: object) -> SimulatedHost:
    domains = {spec.uuid: spec for spec in specs}
    host = SimulatedHost(domains=domains, **more)  # type: ignore[arg-type]
    host.start()
    host.settle()
    return host


def record_of(host: SimulatedHost, name: str = "fw") -> DomainRecord:
    return host.inventory.domains[domain(name).uuid]


def following(host: SimulatedHost, name: str = "fw") -> tuple[int, ...]:
    """Return the groups of which the monitor knows that they follow a domain."""
    sent = record_of(host, name).sent
    assert sent is not None
    return sent.following


def has_host_cpus(host: SimulatedHost, number: int) -> bool:
    sent = host.inventory.groups[number].sent
    assert sent is not None
    return sent.has_host_cpus


def describe(host: SimulatedHost, spec: DomainSpec) -> None:
    host.domains[spec.uuid] = spec
    host.react(e.DomainDescribed(spec, NOW_NS))
    host.settle()


def test_the_groups_of_all_threads_follow_and_are_prepared() -> None:
    host = host_with(guest(thread(4), thread(5, name="I/O thread 1")))
    assert following(host) == (4, 5)
    assert host.held_groups == {0, 1, 4, 5}
    assert [has_host_cpus(host, n) for n in (0, 4, 5, 6)] == [False, False, False, True]
    host.react(e.TakeWanted(4))
    host.settle()
    assert host.taken_groups == {4}


def test_without_the_setting_no_group_follows() -> None:
    host = host_with(guest(thread(4), settings=None))
    assert following(host) == ()
    assert host.held_groups == {0, 1}
    assert has_host_cpus(host, 4)


def test_a_domain_that_is_observed_is_not_followed() -> None:
    settings = replace(FOLLOW, mode=Mode.OBSERVE)
    host = host_with(guest(thread(4), settings=settings))
    assert following(host) == ()
    assert has_host_cpus(host, 4)


def test_a_group_with_other_cpus_keeps_those_of_the_host() -> None:
    host = host_with(guest(thread(4)), topology=topology(8, shared=2))
    assert following(host) == (4,)
    assert has_host_cpus(host, 4)
    describe(host, guest(thread(4, 5)))
    assert not has_host_cpus(host, 4)


def test_the_groups_of_all_threads_of_a_core_follow() -> None:
    locations = {PCpu(n): CpuLocation(core=PCpu(n % 4)) for n in range(8)}
    cores = replace(topology(8), locations=locations)
    host = host_with(guest(thread(2, 6)), topology=cores)
    assert following(host) == (2, 6)


@pytest.mark.parametrize(
    ("threads", "gaps"),
    [
        ((thread(4),), []),
        (
            (thread(4, 5), thread(6, name="I/O thread 1")),
            [
                (
                    "emulator does not follow the vCPUs: floats over CPUs 4-5: pin it"
                    " to one clock group"
                )
            ],
        ),
        ((), ["no emulator or I/O thread follows the vCPUs: none is pinned"]),
    ],
)
def test_threads_that_cannot_follow_are_a_problem_of_the_domain(
    threads: tuple[QemuThread, ...], gaps: list[str]
) -> None:
    host = host_with(guest(*threads))
    assert list(find_gaps(host.inventory, record_of(host))) == gaps
    plain = host_with(guest(*threads, settings=None))
    assert list(find_gaps(plain.inventory, record_of(plain))) == []


def test_a_setting_that_changes_changes_the_groups() -> None:
    host = host_with(guest(thread(4), settings=None))
    describe(host, guest(thread(4)))
    assert (following(host), has_host_cpus(host, 4)) == ((4,), False)
    host.react(e.TakeWanted(4))
    describe(host, guest(thread(5)))
    assert (following(host), has_host_cpus(host, 4)) == ((5,), True)
    host.react(e.GroupYielded(4))
    host.settle()
    assert host.held_groups == {0, 1, 5}
    none = DomainRule(match="*", emulator=ThreadFrequency.NONE)
    host.react(e.ConfigReloaded(Config(domain=(none,))))
    host.settle()
    assert (following(host), host.held_groups) == ((), {0, 1})


def test_they_are_given_up_with_the_domain() -> None:
    host = host_with(guest(thread(4)))
    off = guest(thread(4), state=DomainState.SHUTOFF, run=-1)
    describe(host, off)
    assert host.held_groups == set()
    assert has_host_cpus(host, 4)
    describe(host, guest(thread(4), run=2))
    assert host.held_groups == {0, 1, 4}
    host.domains.clear()
    host.react(e.DomainVanished(off.uuid))
    host.settle()
    assert host.held_groups == set()


def test_a_policy_needs_them_without_any_channel() -> None:
    settings = replace(FOLLOW, policies="workload high vcpus=1")
    host = host_with(guest(thread(4), settings=settings, channels=()))
    assert host.held_groups == {1, 4}


def test_a_group_that_the_kernel_refused_does_not_follow_until_it_is_retried() -> None:
    host = host_with(guest(thread(4)), refusing={4})
    host.react(e.TakeWanted(4))
    host.settle()
    assert host.inventory.groups[4].stage is GroupStage.FAILED
    assert following(host) == ()
    (gap,) = find_gaps(host.inventory, record_of(host))
    assert gap == "emulator does not follow the vCPUs: EINVAL"
    host.refusing.clear()
    host.react(e.ResyncDue())
    host.settle()
    assert following(host) == (4,)


def test_a_new_monitor_is_sent_them() -> None:
    host = host_with(guest(thread(4)))
    actions = host.react(e.MonitorStarted())
    sent = [it for it in actions if isinstance(it, c.DefineDomain)]
    assert [it.following for it in sent] == [(4,)]


def test_the_lower_limit_of_the_domain_holds_in_them_and_the_upper_does_not() -> None:
    limited = replace(FOLLOW, min_khz=KHz(MIDDLE), max_khz=KHz(MIDDLE))
    host = host_with(guest(thread(4), settings=limited))
    assert host.inventory.groups[0].held == Limits(MIDDLE, MIDDLE)
    assert host.inventory.groups[4].held == Limits(min_khz=MIDDLE)


def test_another_domain_s_upper_limit_does_not_hold_below_what_is_followed() -> None:
    own = DomainSettings(max_khz=KHz(MIDDLE))
    slow = domain("slow", vcpus=(vcpu(0, 4),), channels=(), settings=own)
    host = host_with(slow)
    assert host.inventory.groups[4].held == Limits(max_khz=MIDDLE)
    describe(host, guest(thread(4)))
    assert host.inventory.groups[4].held == NO_LIMITS


def test_they_are_given_up_when_the_last_channel_closes() -> None:
    spec = guest(thread(4), channels=(channel(0, "/run/fw.0"),))
    host = host_with(spec)
    assert host.held_groups == {0, 1, 4}
    actions = host.react(e.EndpointClosed(spec.uuid, 0, "hung up"))
    dropped = {it.group for it in actions if isinstance(it, a.DropGroup)}
    assert dropped == {0, 1, 4}


def test_they_are_given_up_when_the_last_channel_shares_its_socket() -> None:
    host = host_with(guest(thread(4), channels=(channel(0, "/run/fw.0"),)))
    assert host.held_groups == {0, 1, 4}
    clone = domain("clone", vcpus=(vcpu(0, 6),), channels=(channel(0, "/run/fw.0"),))
    actions = host.react(e.DomainDescribed(clone, NOW_NS))
    dropped = {it.group for it in actions if isinstance(it, a.DropGroup)}
    assert dropped == {0, 1, 4}


def test_an_energy_preference_is_not_held_while_another_domain_follows() -> None:
    own = DomainSettings(epp=EnergyPreference("power"))
    slow = domain("slow", vcpus=(vcpu(0, 4),), channels=(), settings=own)
    host = host_with(slow)
    (path,) = host.inventory.wanted_attributes
    describe(host, guest(thread(4)))
    assert host.inventory.wanted_attributes == {}
    host.react(e.DomainVanished(domain("fw").uuid))
    assert host.inventory.wanted_attributes == {path: "power"}
