# SPDX-License-Identifier: Apache-2.0
"""Which limits a clock group is kept within, and what the kernel's own change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config, DomainRule, PowerConfig
from orchestrator.controller import actions as a
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.limits import NO_LIMITS, UNLIMITED_KHZ, Limits
from orchestrator.monitor.link import commands as c
from orchestrator.power.kernel_limits import KernelLimits
from orchestrator.values.domain import DomainSpec, DomainState
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.frequencies import table_from
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain, topology, vcpu

LOWEST, MIDDLE, NOMINAL, TURBO = 1_200_000, 2_000_000, 3_000_000, 3_001_000
AT_MOST_MIDDLE = Limits(max_khz=MIDDLE)
HARDWARE = Limits(LOWEST, TURBO)


def limited(name: str = "capped", pcpu: int = 0, **settings: object) -> DomainSpec:
    values = settings or {"max_khz": KHz(MIDDLE)}
    own = DomainSettings(**values)  # type: ignore[arg-type]
    return domain(name, vcpus=(vcpu(0, pcpu),), channels=(), settings=own)


def free(name: str = "free", pcpu: int = 0, **more: object) -> DomainSpec:
    return domain(name, vcpus=(vcpu(0, pcpu),), channels=(), **more)


def host_with(*specs: DomainSpec, **more: object) -> SimulatedHost:
    domains = {spec.uuid: spec for spec in specs}
    host = SimulatedHost(domains=domains, **more)  # type: ignore[arg-type]
    host.start()
    host.settle()
    return host


def held(host: SimulatedHost, number: int = 0) -> Limits:
    return host.inventory.groups[number].held


def definition(host: SimulatedHost, number: int = 0) -> c.DefineGroup:
    sent = host.inventory.groups[number].sent
    assert sent is not None
    return sent


def is_turbo_allowed(host: SimulatedHost) -> bool:
    (record,) = host.inventory.domains.values()
    assert record.sent is not None
    return record.sent.vcpus[0].is_turbo_allowed


def kernel_limits(host: SimulatedHost, **limits: object) -> list[a.Action]:
    """Let the kernel's limits of group 0 become these."""
    values = {"limits": HARDWARE, **limits}
    return host.react(e.KernelLimitsRead({0: KernelLimits(**values)}))  # type: ignore[arg-type]


def test_a_domain_s_limits_hold_from_its_start_to_its_end_without_any_channel() -> None:
    host = host_with(limited())
    assert (held(host), held(host, 1)) == (AT_MOST_MIDDLE, NO_LIMITS)
    off = replace(limited(), state=DomainState.SHUTOFF, run=-1)
    assert a.HoldLimits(0, NO_LIMITS) in host.react(e.DomainDescribed(off, NOW_NS))


def test_a_domain_that_vanishes_ends_its_limits() -> None:
    host = host_with(limited())
    vanished = e.DomainVanished(limited().uuid)
    assert a.HoldLimits(0, NO_LIMITS) in host.react(vanished)


def test_a_change_of_the_metadata_changes_what_is_held_before_what_is_granted() -> None:
    host = host_with(limited())
    wider = limited(max_khz=KHz(NOMINAL), min_khz=KHz(MIDDLE))
    decided = host.react(e.DomainDescribed(wider, NOW_NS))
    kinds = [type(action) for action in decided]
    assert a.HoldLimits(0, Limits(MIDDLE, NOMINAL)) in decided
    assert kinds.index(a.HoldLimits) < kinds.index(c.DefineGroup)


def test_without_the_right_to_turbo_the_kernel_is_held_at_nominal() -> None:
    assert held(host_with(limited(turbo=False))) == Limits(max_khz=NOMINAL)


def test_the_host_s_bounds_hold_for_every_group_and_change_at_a_reload() -> None:
    bounds = BoundsConfig(min_khz=KHz(MIDDLE), turbo=False)
    host = host_with(config=Config(bounds=bounds))
    numbers = host.inventory.groups
    assert {held(host, number) for number in numbers} == {Limits(MIDDLE, NOMINAL)}
    decided = host.react(e.ConfigReloaded(Config()))
    restored = {action.group for action in decided if isinstance(action, a.HoldLimits)}
    assert restored == set(numbers)


def test_no_vcpu_is_slowed_because_of_a_neighbor() -> None:
    capped, raised = limited(), limited("raised", min_khz=KHz(MIDDLE))
    assert held(host_with(capped, free())) == NO_LIMITS
    assert held(host_with(capped, raised)) == Limits(MIDDLE, UNLIMITED_KHZ)


def test_a_paused_neighbor_does_not_count_while_another_runs() -> None:
    paused = free(state=DomainState.PAUSED)
    assert held(host_with(limited(), paused)) == AT_MOST_MIDDLE
    assert held(host_with(replace(limited(), state=DomainState.PAUSED))) == (
        AT_MOST_MIDDLE
    )


@pytest.mark.parametrize(
    ("is_shared", "expected"), [(False, NO_LIMITS), (True, AT_MOST_MIDDLE)]
)
def test_a_group_with_cpus_for_the_host_has_no_upper_limit_of_a_domain(
    *, is_shared: bool, expected: Limits
) -> None:
    config = Config(power=PowerConfig(share_with_host=is_shared))
    host = host_with(limited(), topology=topology(shared=2), config=config)
    assert held(host) == expected


def test_an_override_is_limited_by_the_host_alone() -> None:
    bounds = BoundsConfig(max_khz=KHz(NOMINAL))
    host = host_with(limited(), config=Config(bounds=bounds))
    decided = host.react(e.OverrideSet(0, NOMINAL))
    assert a.HoldLimits(0, Limits(max_khz=NOMINAL)) in decided
    assert definition(host).limits.max_khz == NOMINAL
    assert a.HoldLimits(0, AT_MOST_MIDDLE) in host.react(e.OverrideReleased(0))


@pytest.mark.parametrize("is_host", [False, True])
def test_observing_holds_nothing(*, is_host: bool) -> None:
    bounds, observe = BoundsConfig(max_khz=KHz(MIDDLE)), Mode.OBSERVE
    config = Config(mode=observe, bounds=bounds) if is_host else Config()
    host = host_with(limited(mode=observe, max_khz=KHz(MIDDLE)), config=config)
    assert held(host) == NO_LIMITS


def test_a_group_that_cannot_be_taken_keeps_its_limits() -> None:
    host = host_with(limited(), refusing={0})
    host.react(e.OverrideSet(0, LOWEST), e.OverrideReleased(0), e.TakeWanted(0))
    host.settle()
    assert host.inventory.groups[0].stage is GroupStage.FAILED
    assert held(host) == AT_MOST_MIDDLE


def test_limits_of_a_group_that_went_offline_are_restored_when_it_returns() -> None:
    host = host_with(limited())
    decided = host.react(e.TopologyRead(topology(offline=[0])))
    assert a.HoldLimits(0, NO_LIMITS) in decided
    assert a.HoldLimits(0, AT_MOST_MIDDLE) in host.react(e.TopologyRead(topology()))


def test_the_monitor_grants_only_what_is_held() -> None:
    assert definition(host_with(limited())).limits == Limits(LOWEST, MIDDLE)


def test_a_limit_that_the_kernel_gets_counts_at_once_and_is_reported() -> None:
    host = host_with(domain(vcpus=(vcpu(0, 0),)))
    kernel_limits(host, limits=Limits(LOWEST, MIDDLE))
    assert definition(host).limits == Limits(LOWEST, MIDDLE)
    (record,) = host.inventory.domains.values()
    assert record.last_subject is not None
    (place,) = record.last_subject.subject.places
    assert place.window.high_khz == MIDDLE
    expected = "CPU 0: the kernel's own limits are now 1.20 GHz to 2.00 GHz"
    assert expected in [report.text for report in host.reports]


def test_what_vmpowerd_holds_is_no_limit_of_the_kernel() -> None:
    host = host_with(limited())
    kernel_limits(host, held=AT_MOST_MIDDLE)
    assert host.inventory.group_limits(0) == HARDWARE
    assert host.reports[-1].text == "CPU 0: limited: at most 2.00 GHz"
    kernel_limits(host)
    assert host.reports[-1].text == "CPU 0: the kernel's limits were restored"


def test_a_switch_of_turbo_changes_the_steps_of_a_taken_group() -> None:
    """A driver with a range of frequencies has another highest one then."""
    host = host_with(domain(vcpus=(vcpu(0, 0),)))
    actions = kernel_limits(host, turbo_switch="cpufreq/boost")
    assert a.ReadTopology() in actions
    assert a.ReadTopology() not in kernel_limits(host, turbo_switch="cpufreq/boost")
    record = host.inventory.groups[0]
    record.stage = GroupStage.TAKEN
    known = host.inventory.topology
    without_turbo = table_from(record.group.steps.khz[1:], has_turbo=False)
    changed = tuple(replace(it, steps=without_turbo) for it in known.groups)
    host.react(e.TopologyRead(replace(known, groups=changed)))
    assert definition(host).steps == without_turbo


def test_without_boost_no_vcpu_may_use_turbo_and_bounds_end_at_nominal() -> None:
    host = host_with(domain(vcpus=(vcpu(0, 0),)))
    kernel_limits(host, turbo_switch="cpufreq/boost")
    assert not is_turbo_allowed(host)
    assert definition(host).limits.max_khz == NOMINAL
    assert held(host) == NO_LIMITS
    kernel_limits(host)
    assert is_turbo_allowed(host)
    assert definition(host).limits.max_khz == TURBO


def test_limits_that_cannot_be_written_are_reported_once() -> None:
    host = host_with(limited())
    for _ in range(2):
        kernel_limits(host, problem="cannot write it: EROFS")
    texts = [report.text for report in host.reports]
    assert texts.count("CPU 0: frequency limits not set: cannot write it: EROFS") == 1


def test_a_rule_s_limits_hold_as_those_of_the_metadata() -> None:
    rules = (DomainRule(match="fr*", max_khz=KHz(MIDDLE)),)
    host = host_with(free(), config=Config(domain=rules))
    assert held(host) == AT_MOST_MIDDLE


def test_limits_are_read_for_all_groups_at_a_resync_and_often_for_those_in_use() -> (
    None
):
    host = host_with(limited(), domain(vcpus=(vcpu(0, 1),)))
    assert a.ReadKernelLimits(tuple(range(8))) in host.react(e.ResyncDue())
    assert a.ReadKernelLimits((0, 1)) in host.react(e.VerificationDue())
