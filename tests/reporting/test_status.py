# SPDX-License-Identifier: Apache-2.0
"""The status document of a whole host, built in pieces."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config
from orchestrator.config_files import config_from
from orchestrator.control import models
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.limits import Limits
from orchestrator.monitor.client.views import MonitorSnapshot
from orchestrator.power.attribute_kinds import (
    BOOST,
    ENERGY_PREFERENCE,
    IDLE_LATENCY,
    NO_TURBO,
)
from orchestrator.power.attribute_state import AttributeState, Outcome
from orchestrator.power.kernel_limits import KernelLimits
from orchestrator.reporting.status import StatusBuilder, render_policy
from orchestrator.values.domain import DomainState, PCpu, QemuThread
from orchestrator.values.domain_settings import DomainSettings, Mode, ThreadFrequency
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import KHz, Microseconds
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import channel, domain, topology, vcpu
from tests.policy.vcpu_samples import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

DAEMON = models.DaemonStatus(
    version="0.1.0",
    pid=1,
    mode=Mode.ENFORCE,
    uptime_s=1.0,
    run_dir="/run/vmpower",
    sysfs_root="/sys",
)
DOMAINS, VCPUS = 16, 8


def large_host() -> SimulatedHost:
    host = SimulatedHost(topology=topology(DOMAINS * VCPUS))
    for number in range(DOMAINS):
        own = range(number * VCPUS, (number + 1) * VCPUS)
        spec = domain(
            f"vm-{number:02}",
            vcpus=tuple(vcpu(at, pcpu) for at, pcpu in enumerate(own)),
            channels=tuple(channel(at, f"/run/{number}.{at}") for at in range(VCPUS)),
        )
        host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    return host


def build(
    host: SimulatedHost, on_turn: Callable[[int], None] = lambda _: None
) -> tuple[models.Status, int]:
    """Build a status; return it and how often the loop could run meanwhile."""

    async def run() -> tuple[models.Status, int]:
        builder = StatusBuilder(host.inventory, MonitorSnapshot(), {})
        making, turns = asyncio.create_task(builder.build(DAEMON)), 0
        while not making.done():
            await asyncio.sleep(0)
            on_turn(turns)
            turns += 1
        return await making, turns

    return asyncio.run(run())


def test_the_loop_runs_other_work_between_domains() -> None:
    status, turns = build(large_host())
    assert [d.name for d in status.domains] == [f"vm-{n:02}" for n in range(DOMAINS)]
    assert [cpu.pcpu for cpu in status.cpus] == list(range(DOMAINS * VCPUS))
    assert turns >= DOMAINS


def test_a_domain_that_vanishes_meanwhile_is_not_in_the_status() -> None:
    host = large_host()
    gone = domain("vm-09").uuid

    def leave(turn: int) -> None:
        if turn == 1:
            host.react(e.DomainVanished(gone))

    status, _ = build(host, leave)
    assert gone not in {found.uuid for found in status.domains}
    assert len(status.domains) == DOMAINS - 1


def test_a_vcpu_s_limits_are_steps_and_a_floating_one_has_none() -> None:
    host = SimulatedHost()
    spec = domain(vcpus=(vcpu(0, 0), vcpu(1, 1, 2)))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    (found,) = build(host)[0].domains
    limits = [(one.min_khz, one.max_khz) for one in found.vcpus]
    assert limits == [(1_200_000, 3_001_000), (None, None)]


SETTINGS = DomainSettings(min_khz=KHz(2_000_000), turbo=False)
BOUNDS = BoundsConfig(max_khz=KHz(2_000_000))
KERNEL = KernelLimits(Limits(1_200_000, 2_000_000))


@pytest.mark.parametrize(
    ("settings", "bounds", "kernel", "expected"),
    [
        (None, BoundsConfig(), None, ("hardware", "hardware")),
        (SETTINGS, BoundsConfig(), None, ("metadata", "turbo off (metadata)")),
        (SETTINGS, BoundsConfig(turbo=False), None, ("metadata", "turbo off (host)")),
        (SETTINGS, BOUNDS, None, ("metadata", "host")),
        (None, BoundsConfig(), KERNEL, ("hardware", "kernel")),
        (None, BOUNDS, KERNEL, ("hardware", "host")),
        (
            None,
            BoundsConfig(),
            KernelLimits(Limits(1_200_000, 3_001_000), "cpufreq/boost"),
            ("hardware", "turbo off (kernel)"),
        ),
        (
            SETTINGS,
            BoundsConfig(max_khz=KHz(1_200_000)),
            None,
            ("host", "host"),
        ),
    ],
)
def test_each_limit_of_a_vcpu_has_a_source(
    settings: DomainSettings | None,
    bounds: BoundsConfig,
    kernel: KernelLimits | None,
    expected: tuple[str, str],
) -> None:
    host = SimulatedHost(config=Config(bounds=bounds))
    spec = domain(vcpus=(vcpu(0, 0),), settings=settings)
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    if kernel is not None:
        host.react(e.KernelLimitsRead({0: kernel}))
    ((found,),) = [each.vcpus for each in build(host)[0].domains]
    assert (found.min_source, found.max_source) == expected


@pytest.mark.parametrize(
    ("neighbors", "shared", "pins", "expected"),
    [
        ((), 1, (0,), []),
        ((), 1, (0, 1), ["limits do not hold for vCPU 0: not pinned into one clock"]),
        ((), 2, (0,), ["the upper limit does not hold for vCPU 0: other domains or"]),
        ((None,), 1, (0,), ["the upper limit does not hold for vCPU 0: other dom"]),
        ((SETTINGS,), 1, (0,), []),
    ],
)
def test_it_is_a_problem_where_limits_of_a_domain_do_not_hold(
    neighbors: tuple[DomainSettings | None, ...],
    shared: int,
    pins: tuple[int, ...],
    expected: list[str],
) -> None:
    host = SimulatedHost(topology=topology(shared=shared))
    specs = [domain("capped", vcpus=(vcpu(0, *pins),), settings=SETTINGS)]
    specs += [domain("other", vcpus=(vcpu(0, 0),), settings=one) for one in neighbors]
    host.domains |= {spec.uuid: spec for spec in specs}
    host.start()
    host.settle()
    capped = build(host)[0].domains[0]
    assert len(capped.problems) == len(expected)
    for found, start in zip(capped.problems, expected, strict=True):
        assert found.startswith(start)


def test_a_cpu_shows_what_the_kernel_was_made_to_hold_and_why_it_could_not() -> None:
    host = SimulatedHost()
    host.start()
    held = KernelLimits(held=Limits(max_khz=2_000_000), turbo_switch="cpufreq/boost")
    refused = KernelLimits(problem="cannot write it: EROFS")
    host.react(e.KernelLimitsRead({0: held, 1: refused}))
    first, second, *_ = build(host)[0].cpus
    assert (first.held_min_khz, first.held_max_khz) == (None, 2_000_000)
    assert (first.boost, second.boost) == (False, True)
    assert second.reason == "frequency limits not set: cannot write it: EROFS"


def test_held_attributes_are_shown_with_what_they_permit() -> None:
    host = SimulatedHost()
    spec = domain(vcpus=(vcpu(0, 0), vcpu(1, 1, 2), vcpu(2, 3), vcpu(3, 99)))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    deep = AttributeState(Outcome.HELD, "50", "", ("POLL", "C1", "C2"))
    shallow = AttributeState(Outcome.LEFT, "n/a", "", ("POLL",))
    hidden = AttributeState(Outcome.REFUSED, "performance", "the governor is ...")
    absent = AttributeState(Outcome.ABSENT)
    states = {
        **{IDLE_LATENCY.path_of(pcpu): deep for pcpu in (0, 1)},
        IDLE_LATENCY.path_of(2): shallow,
        ENERGY_PREFERENCE.path_of(0): hidden,
        BOOST.every: AttributeState(Outcome.HELD, "0"),
        NO_TURBO.every: absent,
    }
    host.react(e.AttributesRead(states))
    status = build(host)[0]
    assert [(it.name, it.value, it.outcome) for it in status.kernel_settings] == [
        ("idle latency of CPUs 0-1", "at most 50 us", "held"),
        ("idle latency of CPU 2", "at most 0 us", "left"),
        ("turbo (cpufreq/boost)", "off", "held"),
        ("energy preference of clock group 0", "performance", "refused"),
    ]
    assert status.kernel_settings[3].problem == "the governor is ..."
    assert [vcpu.idle_states for vcpu in status.domains[0].vcpus] == [
        ("POLL", "C1", "C2"),
        ("POLL",),
        None,
        None,
    ]
    first, *_, fourth = status.cpus[:4]
    assert (first.epp, first.idle_latency_us) == ("performance", 50)
    assert (fourth.epp, fourth.idle_latency_us) == (None, None)


def test_threads_of_a_domain_are_shown_with_their_cpus() -> None:
    thread = QemuThread(name="I/O thread 2", pinning=frozenset(map(PCpu, (6, 5))))
    host = SimulatedHost()
    spec = domain(threads=(thread,))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    (found,) = build(host)[0].domains[0].threads
    assert (found.name, found.pcpus) == ("I/O thread 2", (5, 6))


@pytest.mark.parametrize(
    ("votes", "decides"),
    [
        # (fw's vCPUs, the neighbor's), whether each domain decides in group 4
        (({0: 2_000_000, 1: 1_200_000}, 1_200_000), {"fw": True, "web": False}),
        (({0: 2_000_000, 1: 1_200_000}, 2_000_000), {"fw": False, "web": False}),
        (({0: 2_000_000}, 2_000_000), {"fw": True, "web": False}),  # vCPU 1: highest
        (({0: 1_200_000, 1: 1_200_000}, None), {"fw": False, "web": False}),
    ],
)
def test_a_group_shows_the_domains_that_it_follows_and_whose_requests_decide(
    votes: tuple[dict[int, int], int | None], decides: dict[str, bool]
) -> None:
    thread = QemuThread(name="emulator", pinning=frozenset({PCpu(4)}))
    follow = DomainSettings(emulator=ThreadFrequency.FOLLOW)
    fw = domain("fw", threads=(thread,), settings=follow)
    web = domain("web", threads=(thread,), vcpus=(vcpu(0, 2),), settings=follow)
    neighbor = domain("neighbor", vcpus=(vcpu(0, 4),))
    host = SimulatedHost(domains={it.uuid: it for it in (fw, web, neighbor)})
    host.start()
    host.settle()
    requested = {(fw.uuid, number): khz for number, khz in votes[0].items()}
    requested[web.uuid, 0] = 1_200_000
    if votes[1] is not None:
        requested[neighbor.uuid, 0] = votes[1]
    host.inventory.groups[4].stage = GroupStage.TAKEN
    snapshot = MonitorSnapshot(requested_khz=requested)
    builder = StatusBuilder(host.inventory, snapshot, {})
    cpus = asyncio.run(builder.build(DAEMON)).cpus
    assert {it.domain: it.decides for it in cpus[4].follows} == decides
    assert {it.threads for it in cpus[4].follows} == {("emulator",)}
    assert cpus[3].follows == ()


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_paused_domain_and_an_untaken_group_are_followed_without_effect(
    *, is_taken: bool
) -> None:
    thread = QemuThread(name="emulator", pinning=frozenset({PCpu(4)}))
    follow = DomainSettings(emulator=ThreadFrequency.FOLLOW)
    state = DomainState.PAUSED if is_taken else DomainState.RUNNING
    host = SimulatedHost()
    spec = domain("fw", threads=(thread,), settings=follow, state=state)
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    if is_taken:
        host.inventory.groups[4].stage = GroupStage.TAKEN
    (followed,) = build(host)[0].cpus[4].follows
    assert not followed.decides


def test_it_is_a_problem_where_latency_or_preference_of_a_domain_do_not_hold() -> None:
    own = DomainSettings(
        idle_latency_us=Microseconds(50), epp=EnergyPreference("power")
    )
    host = SimulatedHost()
    vcpus = (vcpu(0, 0), vcpu(1, *range(8)), vcpu(2, 3, 4), vcpu(3, 5))
    specs = [domain("own", vcpus=vcpus, settings=own), domain("plain")]
    host.domains |= {spec.uuid: spec for spec in specs}
    host.start()
    host.settle()
    found = build(host)[0].domains[0]
    assert found.name == "own"
    assert found.problems == (
        "the idle latency does not hold for vCPU 1: not pinned",
        (
            "the energy preference does not hold for vCPUs 1-2: not pinned into one"
            " clock group"
        ),
        (
            "the energy preference does not hold in clock group 0: a vCPU without one"
            " or the host uses it, too"
        ),
    )


def test_the_switch_that_forbids_turbo_is_named() -> None:
    host = SimulatedHost()
    host.start()
    off = KernelLimits(turbo_switch="intel_pstate/no_turbo")
    host.react(e.KernelLimitsRead({0: off}))
    first, second, *_ = build(host)[0].cpus
    assert (first.turbo_switch, second.turbo_switch) == ("intel_pstate/no_turbo", None)
    assert host.reports[-1].text == (
        "CPU 0: turbo is off in the kernel (intel_pstate/no_turbo)"
    )


def test_a_cpu_has_a_nominal_frequency() -> None:
    host = SimulatedHost()
    host.start()
    host.settle()
    (first, *_) = build(host)[0].cpus
    assert first.steps_khz[:2] == (3_001_000, 3_000_000)
    assert first.nominal_khz == 3_000_000


def test_a_cpu_has_the_mechanism_of_its_clock_group() -> None:
    built = topology(2)
    groups = (replace(built.groups[0], mechanism="limits"), *built.groups[1:])
    host = SimulatedHost(topology=replace(built, groups=groups))
    host.start()
    host.settle()
    mechanisms = [cpu.mechanism for cpu in build(host)[0].cpus]
    assert mechanisms == ["limits", "setspeed"]


def test_a_cpu_beside_host_work_has_a_reason_unless_it_is_overridden() -> None:
    spec = domain(vcpus=(vcpu(0, 0),))
    host = SimulatedHost(topology=topology(2, shared=2), domains={spec.uuid: spec})
    host.start()
    host.settle()
    host.react(e.TakeWanted(0))
    host.settle()
    reasons = {cpu.reason for cpu in build(host)[0].cpus}
    assert [bool(reason and "share_with_host" in reason) for reason in reasons] == [
        True
    ]
    host.react(e.OverrideSet(0, 1_200_000))
    host.settle()
    assert {cpu.reason for cpu in build(host)[0].cpus} == {None}


def test_a_policy_shows_what_its_timetable_changes_next() -> None:
    rules = [
        {"match": "*", "kind": "time-of-day", "busy": ["08:00-18:00"]}
        | {"zone": "Asia/Kathmandu", "vcpus": "0"},
        {"match": "*", "kind": "workload", "workload": "low"},
    ]
    host = SimulatedHost(config_from({"policy": rules}))
    spec = domain(channels=())
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    timed, fixed = (render_policy(it, NOON) for it in host.engine.statuses())
    # At noon in UTC it is 17:45 there.
    assert timed.model_dump(mode="json")["next_change"] == {
        "at": "2026-03-04T18:00:00+05:45",
        "level": "none",
    }
    assert fixed.next_change is None
