# SPDX-License-Identifier: Apache-2.0
"""Which clock groups are kept at their lowest step because no domain uses them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config, HostConfig, IdleCpus
from orchestrator.controller import actions as a
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.values.domain import DomainState, PCpu, QemuThread
from orchestrator.values.domain_settings import Mode
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain, topology, vcpu

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainSpec

LOWEST, MIDDLE = 1_200_000, 2_000_000
AT_LOWEST = Limits(max_khz=LOWEST)
CONFIG = Config(host=HostConfig(idle_cpus=IdleCpus.LOWEST))


def guest(name: str, *pinnings: tuple[int, ...], **more: object) -> DomainSpec:
    vcpus = tuple(vcpu(n, *pcpus) for n, pcpus in enumerate(pinnings))
    return domain(name, vcpus=vcpus, channels=(), **more)


def emulator(*pcpus: int) -> tuple[QemuThread, ...]:
    pinning = frozenset(map(PCpu, pcpus))
    return (QemuThread(name="emulator", pinning=pinning),)


def host_with(
    *specs: DomainSpec, config: Config = CONFIG, **more: object
) -> SimulatedHost:
    domains = {spec.uuid: spec for spec in specs}
    host = SimulatedHost(domains=domains, config=config, **more)  # type: ignore[arg-type]
    host.start()
    host.settle()
    return host


def lowest(host: SimulatedHost) -> set[int]:
    """Return the groups that are kept at their lowest step."""
    groups = host.inventory.groups
    return {number for number in groups if groups[number].held == AT_LOWEST}


def test_groups_without_any_domain_are_kept_at_their_lowest_step() -> None:
    host = host_with(guest("pinned", (0,), (3,)))
    assert lowest(host) == {1, 2, 4, 5, 6, 7}
    assert host.inventory.groups[0].held == NO_LIMITS


def test_by_default_nothing_is_limited() -> None:
    assert lowest(host_with(config=Config())) == set()


def test_a_floating_vcpu_uses_all_its_cpus() -> None:
    assert lowest(host_with(guest("floating", (0, 1, 2)))) == {3, 4, 5, 6, 7}
    everywhere = guest("everywhere", tuple(range(8)))
    host = host_with(guest("floating", (0, 1, 2)), everywhere)
    assert lowest(host) == set()
    host.react(e.DomainVanished(everywhere.uuid))
    assert lowest(host) == {3, 4, 5, 6, 7}


def test_threads_that_are_pinned_use_their_cpus() -> None:
    spec = guest("pinned", (0,), threads=emulator(6, 7))
    host = host_with(spec)
    assert lowest(host) == {1, 2, 3, 4, 5}
    moved = replace(spec, threads=emulator(5))
    host.react(e.DomainDescribed(moved, NOW_NS))
    assert lowest(host) == {1, 2, 3, 4, 6, 7}


def test_cpus_of_the_host_are_left_alone() -> None:
    own = HostConfig(idle_cpus=IdleCpus.LOWEST, own_cpus="0-1,^0,7")
    assert lowest(host_with(config=Config(host=own))) == {0, 2, 3, 4, 5, 6}


def test_a_group_is_limited_as_a_whole_or_not_at_all() -> None:
    assert lowest(host_with(guest("one", (3,)), topology=topology(shared=2))) == {
        *(0, 4, 6)
    }


def test_a_start_and_an_end_of_a_domain_lift_and_set_the_limit() -> None:
    spec = guest("one", (3,))
    host = host_with(spec)
    off = replace(spec, state=DomainState.SHUTOFF, run=-1)
    assert a.HoldLimits(3, AT_LOWEST) in host.react(e.DomainDescribed(off, NOW_NS))
    assert a.HoldLimits(3, NO_LIMITS) in host.react(e.DomainDescribed(spec, NOW_NS))
    paused = replace(spec, state=DomainState.PAUSED)
    host.react(e.DomainDescribed(paused, NOW_NS))
    assert 3 not in lowest(host)


def test_an_override_lifts_the_limit() -> None:
    host = host_with()
    assert a.HoldLimits(2, NO_LIMITS) in host.react(e.OverrideSet(2, MIDDLE))
    assert a.HoldLimits(2, AT_LOWEST) in host.react(e.OverrideReleased(2))


def test_the_host_s_bounds_determine_the_lowest_step() -> None:
    config = replace(CONFIG, bounds=BoundsConfig(min_khz=KHz(MIDDLE)))
    assert host_with(config=config).inventory.groups[0].held == Limits(MIDDLE, MIDDLE)


def test_observing_limits_nothing() -> None:
    host = host_with(config=replace(CONFIG, mode=Mode.OBSERVE))
    assert {record.held for record in host.inventory.groups.values()} == {NO_LIMITS}


@pytest.mark.parametrize("is_gone", [False, True])
def test_no_cpu_is_limited_before_all_domains_are_known(*, is_gone: bool) -> None:
    """A daemon that starts again must not slow guests that it has not read yet."""
    one, other = guest("one", (3,)), guest("other", (4,))
    host = SimulatedHost(config=CONFIG)
    host.react(e.TopologyRead(host.topology), e.MonitorStarted(), e.LibvirtConnected())
    assert lowest(host) == set()
    host.react(e.DomainsListed((one.uuid, other.uuid)))
    host.react(e.DomainDescribed(one, NOW_NS))
    assert lowest(host) == set()
    last = e.DomainVanished(other.uuid) if is_gone else e.DomainDescribed(other, NOW_NS)
    host.react(last)
    assert lowest(host) == set(range(8)) - ({3} if is_gone else {3, 4})


def test_a_host_without_any_domain_is_limited_when_that_is_known() -> None:
    host = SimulatedHost(config=CONFIG)
    host.react(e.TopologyRead(host.topology), e.DomainsListed(()))
    assert lowest(host) == set(range(8))


def test_a_reload_that_switches_it_on_limits_no_used_group_even_for_a_moment() -> None:
    spec = guest("floating", (0, 1, 2), threads=emulator(7))
    host = host_with(spec, config=Config())
    decided = host.react(e.ConfigReloaded(CONFIG))
    limited = {it.group for it in decided if isinstance(it, a.HoldLimits)}
    assert limited == lowest(host) == {3, 4, 5, 6}
    host.react(e.ConfigReloaded(Config()))
    assert lowest(host) == set()
