# SPDX-License-Identifier: Apache-2.0
"""What idle latency, energy preference and others are held at, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.config import (
    Config,
    DomainRule,
    EppConfig,
    IdleConfig,
    TurboConfig,
    TurboSwitch,
    UncoreConfig,
)
from orchestrator.config_files import config_from
from orchestrator.controller import actions as a
from orchestrator.power.attribute_kinds import (
    BOOST,
    ENERGY_PREFERENCE,
    IDLE_LATENCY,
    NO_TURBO,
    UNCORE_MAX,
    UNCORE_MIN,
)
from orchestrator.power.attribute_state import AttributeState, Outcome
from orchestrator.values.domain import DomainSpec, DomainState
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import KHz, Microseconds
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain, topology, vcpu

if TYPE_CHECKING:
    from collections.abc import Mapping

POWER, PERFORMANCE = EnergyPreference("power"), EnergyPreference("performance")
BALANCED = EnergyPreference("balance_power")


def latency(*pcpus: int) -> list[str]:
    return [IDLE_LATENCY.path_of(pcpu) for pcpu in pcpus]


def preference(group: int = 0) -> str:
    return ENERGY_PREFERENCE.path_of(group)


def guest(
    name: str = "own",
    *pinnings: tuple[int, ...],
    us: int | None = None,
    epp: EnergyPreference | None = None,
    **more: object,
) -> DomainSpec:
    own = DomainSettings(
        idle_latency_us=None if us is None else Microseconds(us), epp=epp
    )
    vcpus = tuple(vcpu(n, *pcpus) for n, pcpus in enumerate(pinnings or ((0,),)))
    values = {"vcpus": vcpus, "channels": (), "settings": own, **more}
    return domain(name, **values)


def host_with(*specs: DomainSpec, **more: object) -> SimulatedHost:
    host = SimulatedHost(domains={spec.uuid: spec for spec in specs}, **more)  # type: ignore[arg-type]
    host.start()
    host.settle()
    return host


def wanted(host: SimulatedHost) -> dict[str, str]:
    return dict(host.inventory.wanted_attributes)


def describe(host: SimulatedHost, spec: DomainSpec) -> dict[str, str | None]:
    """Describe a domain, and return what is to be held since."""
    decided = host.react(e.DomainDescribed(spec, NOW_NS))
    found: dict[str, str | None] = {}
    for action in decided:
        if isinstance(action, a.HoldAttributes):
            found.update(action.changes)
    return found


def test_a_latency_is_held_for_the_cpus_of_a_domain_while_it_executes() -> None:
    spec = guest("own", (0,), (2, 3), us=50)
    host = host_with(spec)
    assert wanted(host) == dict.fromkeys(latency(0, 2, 3), "50")
    paused = replace(spec, state=DomainState.PAUSED)
    assert describe(host, paused) == dict.fromkeys(latency(0, 2, 3))
    assert describe(host, spec) == dict.fromkeys(latency(0, 2, 3), "50")
    host.react(e.DomainVanished(spec.uuid))
    assert wanted(host) == {}
    assert host.inventory.attribute_wants == {}


def test_a_vcpu_that_may_run_everywhere_limits_no_latency() -> None:
    assert wanted(host_with(guest("own", tuple(range(8)), (1,), us=0))) == {
        latency(1)[0]: "n/a"
    }


def test_the_shortest_latency_of_all_domains_and_of_the_host_is_held() -> None:
    config = Config(idle=IdleConfig(max_latency_us=Microseconds(100)))
    one, other = guest("one", us=50), guest("other", (0,), (1,), us=200)
    host = host_with(one, other, config=config)
    assert wanted(host) == {
        IDLE_LATENCY.every: "100",
        latency(0)[0]: "50",
        latency(1)[0]: "100",
    }
    host.react(e.DomainVanished(one.uuid))
    assert wanted(host)[latency(0)[0]] == "100"
    host.react(e.ConfigReloaded(Config()))
    assert wanted(host) == dict.fromkeys(latency(0, 1), "200")


def test_a_preference_is_held_for_the_groups_that_a_domain_is_pinned_into() -> None:
    host = host_with(guest("own", (0,), (4, 5), epp=POWER))
    assert wanted(host) == {preference(0): "power"}


def test_the_preference_for_more_performance_of_several_domains_is_held() -> None:
    one, other = guest("one", epp=POWER), guest("other", epp=BALANCED)
    host = host_with(one, other)
    assert wanted(host) == {preference(): "balance_power"}
    host.react(e.DomainVanished(other.uuid))
    assert wanted(host) == {preference(): "power"}


def test_no_vcpu_is_slowed_because_of_a_neighbor_without_a_preference() -> None:
    one, plain = guest("one", epp=POWER), guest("plain")
    host = host_with(one)
    assert describe(host, plain) == {preference(): None}
    paused = replace(plain, state=DomainState.PAUSED)
    assert describe(host, paused) == {preference(): "power"}
    assert wanted(host_with(guest("one", epp=PERFORMANCE), plain)) == {
        preference(): "performance"
    }


def test_a_group_with_cpus_for_the_host_gets_no_preference_but_performance() -> None:
    shared = topology(shared=2)
    assert wanted(host_with(guest("one", epp=POWER), topology=shared)) == {}
    assert wanted(host_with(guest("one", epp=PERFORMANCE), topology=shared)) == {
        preference(): "performance"
    }


def ruled(*rules: Mapping[str, object], **more: object) -> Config:
    return config_from({"policy": [{"match": "*", **it} for it in rules], **more})


def test_a_policy_holds_a_latency_beside_the_setting_of_the_domain() -> None:
    config = ruled({"kind": "latency", "idle_latency_us": 20, "vcpus": "0,2"})
    spec = guest("own", (0,), (1,), (2, 3), us=50)
    host = host_with(spec, config=config)
    assert wanted(host) == {
        **dict.fromkeys(latency(0, 2, 3), "20"),
        latency(1)[0]: "50",
    }
    (shown,) = texts_of_policies(host)
    assert shown == "policy latency of rule *[0] is in force"
    paused = replace(spec, state=DomainState.PAUSED)
    assert wanted(host_with(paused, config=config)) == {}
    host.react(e.ConfigReloaded(Config()))
    host.settle()
    assert wanted(host) == dict.fromkeys(latency(0, 1, 2, 3), "50")
    host.react(e.ConfigReloaded(config))
    host.settle()
    host.react(e.DomainVanished(spec.uuid))
    host.settle()
    assert (wanted(host), host.inventory.attribute_wants) == ({}, {})


def texts_of_policies(host: SimulatedHost) -> list[str]:
    return [report.text for report in host.reports if report.kind == "policy"]


def test_a_longer_latency_of_a_policy_and_less_performance_change_no_setting() -> None:
    config = ruled(
        {"kind": "latency", "idle_latency_us": 500}, {"kind": "epp", "epp": "power"}
    )
    host = host_with(guest("own", (0,), us=50, epp=BALANCED), config=config)
    assert wanted(host) == {latency(0)[0]: "50", preference(): "balance_power"}


def test_a_policy_gives_a_preference_where_every_vcpu_of_the_group_has_one() -> None:
    rule = {"kind": "epp", "epp": "power", "vcpus": "0"}
    alone = guest("own", (0,), (4, 5))
    assert wanted(host_with(alone, config=ruled(rule))) == {preference(): "power"}
    both = guest("own", (0,), (0,))
    assert wanted(host_with(both, config=ruled(rule))) == {}
    whole = {"kind": "epp", "epp": "power"}
    assert wanted(host_with(both, config=ruled(whole))) == {preference(): "power"}


def test_the_host_s_preference_gives_way_to_that_of_a_policy() -> None:
    config = ruled({"kind": "epp", "epp": "power"}, epp={"preference": "performance"})
    host = host_with(guest("own", (0,)), config=config)
    assert wanted(host)[preference()] == "power"


def test_a_policy_that_votes_holds_a_latency_besides() -> None:
    config = ruled({"kind": "workload", "workload": "low", "idle_latency_us": 20})
    assert wanted(host_with(guest("own", (3,)), config=config)) == {latency(3)[0]: "20"}


def test_a_policy_that_only_holds_prepares_no_clock_group() -> None:
    host = host_with(guest(), config=ruled({"kind": "latency", "idle_latency_us": 20}))
    assert host.held_groups == set()
    voting = ruled({"kind": "workload", "workload": "low"})
    assert host_with(guest(), config=voting).held_groups == {0}


def test_the_host_s_preference_is_the_default_of_its_domains() -> None:
    config = Config(epp=EppConfig(preference=BALANCED))
    host = host_with(guest("one", epp=POWER), guest("plain"), config=config)
    assert wanted(host) == {
        ENERGY_PREFERENCE.every: "balance_power",
        preference(): "balance_power",
    }


def test_a_rule_decides_before_the_metadata() -> None:
    rules = (DomainRule(match="own", idle_latency_us=Microseconds(10), epp=BALANCED),)
    host = host_with(guest("own", us=50, epp=POWER), config=Config(domain=rules))
    assert wanted(host) == {latency(0)[0]: "10", preference(): "balance_power"}


@pytest.mark.parametrize("is_host", [False, True])
def test_observing_holds_nothing(*, is_host: bool) -> None:
    idle = IdleConfig(max_latency_us=Microseconds(50))
    turbo = TurboConfig(switch=TurboSwitch.OFF)
    config = Config(mode=Mode.OBSERVE, idle=idle, turbo=turbo) if is_host else Config()
    own = DomainSettings(mode=Mode.OBSERVE, idle_latency_us=Microseconds(50), epp=POWER)
    assert wanted(host_with(guest(settings=own), config=config)) == {}


def test_uncore_frequencies_and_turbo_are_held_for_the_host_and_end_at_a_reload() -> (
    None
):
    uncore = UncoreConfig(min_khz=KHz(1_250_000), max_khz=KHz(2_000_000))
    config = Config(uncore=uncore, turbo=TurboConfig(switch=TurboSwitch.OFF))
    host = host_with(config=config)
    assert wanted(host) == {
        UNCORE_MIN.every: "1200000",
        UNCORE_MAX.every: "2000000",
        BOOST.every: "0",
        NO_TURBO.every: "1",
    }
    on = replace(config, turbo=TurboConfig(switch=TurboSwitch.ON))
    decided = host.react(e.ConfigReloaded(on))
    assert a.HoldAttributes({BOOST.every: "1", NO_TURBO.every: "0"}) in decided
    host.react(e.ConfigReloaded(Config()))
    assert wanted(host) == {}


def test_what_is_held_is_read_at_each_resync_and_when_cpus_are_switched() -> None:
    host = host_with()
    for event in (e.ResyncDue(), e.CpusSwitched(None)):
        assert a.RefreshAttributes() in host.react(event)


def read(host: SimulatedHost, states: dict[str, AttributeState]) -> list[str]:
    """Return the reports about attributes that were read."""
    decided = host.react(e.AttributesRead(states))
    return [action.text for action in decided if isinstance(action, a.Report)]


def test_what_became_of_attributes_is_reported_for_all_alike_together() -> None:
    host = host_with()
    held = AttributeState(Outcome.HELD, "50")
    refused = AttributeState(Outcome.REFUSED, "0", "cannot write it: EBUSY")
    assert read(
        host, {**dict.fromkeys(latency(2, 3), held), latency(4)[0]: refused}
    ) == [
        "idle latency of CPUs 2-3 set: at most 50 us",
        "idle latency of CPU 4 not set: cannot write it: EBUSY",
    ]
    left = AttributeState(Outcome.LEFT, "n/a")
    assert read(host, {latency(2)[0]: left}) == [
        "idle latency of CPU 2 changed by another program, and left: at most 0 us"
    ]
    released = AttributeState(Outcome.RELEASED, "0")
    assert read(host, dict.fromkeys(latency(2, 3), released)) == [
        "idle latency of CPU 3 restored: no limit"
    ]
    assert set(host.inventory.attributes) == {latency(4)[0]}


def test_only_a_host_without_any_turbo_switch_is_reported() -> None:
    absent, held = AttributeState(Outcome.ABSENT), AttributeState(Outcome.HELD, "0")
    assert read(host_with(), {BOOST.every: absent, NO_TURBO.every: held}) == [
        "turbo (intel_pstate/no_turbo) set: on"
    ]
    assert len(read(host_with(), {BOOST.every: absent, NO_TURBO.every: absent})) == 2
