# SPDX-License-Identifier: Apache-2.0
"""Why a guest is refused, in the operator's words."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config, DomainRule, EnergyConfig
from orchestrator.controller.actions import Severity
from orchestrator.controller.refusal_causes import find_causes
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.values.domain import DomainState, PCpu
from orchestrator.values.domain_settings import Mode
from orchestrator.values.refusal import Refusal
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain, vcpu

if TYPE_CHECKING:
    from collections.abc import Mapping

UUID = domain().uuid
STRICT = DomainRule(
    match="dpdk-*",
    mode=Mode.OBSERVE,
    queries=False,
    energy_queries=False,
    guest_policies=False,
)


def served(config: Config | None = None) -> SimulatedHost:
    """Serve a domain whose vCPU 1 floats."""
    host = SimulatedHost(config or Config())
    host.domains[UUID] = domain(vcpus=(vcpu(0, 0), vcpu(1, 1, 2)))
    host.start()
    host.settle()
    return host


BY_RULE = {
    Refusal.OBSERVED,
    Refusal.QUERIES_FORBIDDEN,
    Refusal.ENERGY_FORBIDDEN,
    Refusal.POLICIES_FORBIDDEN,
}
WITHOUT_RULES = (e.ConfigReloaded(Config()),)
PINNED = domain(vcpus=(vcpu(0, 0), vcpu(1, 1), vcpu(2, 2)))
CAUSES: Mapping[Refusal, tuple[tuple[e.Event, ...], tuple[e.Event, ...]]] = {
    **dict.fromkeys(BY_RULE, ((), WITHOUT_RULES)),
    Refusal.DISABLED: (
        (e.ChannelSwitched(UUID, 0, is_enabled=False),),
        (e.ChannelSwitched(UUID, 0, is_enabled=True),),
    ),
    Refusal.ENERGY_UNKNOWN: (
        (e.ConfigReloaded(Config(energy=EnergyConfig(enabled=False))),),
        (e.ConfigReloaded(Config(energy=EnergyConfig(enabled=True))),),
    ),
    Refusal.OVERRIDDEN: ((e.OverrideSet(0, 1_200_000),), (e.OverrideReleased(0),)),
    Refusal.FLOATING: ((), (e.DomainDescribed(PINNED, NOW_NS),)),
    Refusal.NO_VCPU: ((), (e.DomainDescribed(PINNED, NOW_NS),)),
    Refusal.TURBO: (
        (e.ConfigReloaded(Config(bounds=BoundsConfig(turbo=False))),),
        WITHOUT_RULES,
    ),
    Refusal.CLAIM: ((), (e.TakeWanted(0),)),
}
"""Events that bring a cause about, and those that end it; others never end."""


def find(host: SimulatedHost, number: int = 0) -> dict[str, str]:
    return find_causes(host.inventory, host.inventory.domains[UUID], number)


def refuse(
    host: SimulatedHost, reason: Refusal, number: int = 0, unit: int = 9
) -> list[tuple[str, Severity]]:
    """Let the monitor refuse something; return what is reported."""
    host.reports.clear()
    host.react(e.RequestRefused(UUID, 0, reason, number, unit))
    host.settle()
    return [(r.text, r.severity) for r in host.reports if r.kind == "refusal"]


@pytest.mark.parametrize(
    ("reason", "number", "cause"),
    [
        (Refusal.OBSERVED, 0, "the domain is in mode 'observe' (rule dpdk-*)"),
        (
            Refusal.DISABLED,
            0,
            "disabled; enable it with 'vmpower channel enable dpdk-0 0'",
        ),
        (Refusal.PHYSICAL, 3, "the request names CPU 3 of the host"),
        (Refusal.NO_VCPU, 7, "no such vCPU: 7; the domain has vCPUs 0-1"),
        (Refusal.NO_VCPU, 1, "a reply holds vCPUs 0-7 only, not vCPU 1"),
        (
            Refusal.FLOATING,
            1,
            "vCPU 1: floats over CPUs 1-2: pin it to one clock group",
        ),
        (Refusal.UNMANAGED, 1, "vCPU 1: floats over CPUs 1-2"),
        (Refusal.UNIT, 0, "unknown command (unit 9)"),
        (Refusal.TURBO, 0, "CPU 0 has no turbo frequency"),
        (Refusal.OVERRIDDEN, 0, "an operator has set the frequency of CPU 0"),
        (Refusal.CLAIM, 0, "CPU 0 could not be taken from the governor"),
        (Refusal.KERNEL, 0, "the kernel refused the frequency of CPU 0"),
        (
            Refusal.POLICIES_FORBIDDEN,
            0,
            "setting 'guest-policies' is 'no' (rule dpdk-*)",
        ),
        (Refusal.POLICIES_TOO_MANY, 0, "too many policies in a short time"),
        (Refusal.POLICY_REFUSED, 0, "the policy cannot be installed"),
        (Refusal.QUERIES_FORBIDDEN, 0, "setting 'queries' is 'no' (rule dpdk-*)"),
        (
            Refusal.ENERGY_FORBIDDEN,
            0,
            "setting 'energy-queries' is 'no' (rule dpdk-*)",
        ),
        (Refusal.ENERGY_UNKNOWN, 0, "the domain's energy was not accounted yet"),
    ],
)
def test_each_reason_is_reported_with_its_cause(
    reason: Refusal, number: int, cause: str
) -> None:
    host = served(Config(domain=(STRICT,)))
    ((text, _),) = refuse(host, reason, number)
    assert text.startswith(f"requests of channel 0 refused ({reason.word}): ")
    assert cause in text


@pytest.mark.parametrize("reason", sorted(set(Refusal) - {Refusal.KERNEL}))
def test_a_cause_is_found_until_it_has_ended(reason: Refusal) -> None:
    """Each cause is brought about, found, ended and no longer found."""
    begin, end = CAUSES.get(reason, ((), ()))
    host = served(Config(domain=(STRICT,) if reason in BY_RULE else ()))
    vcpu_number = {Refusal.FLOATING: 1, Refusal.NO_VCPU: 2}.get(reason, 0)
    host.react(*begin)
    host.settle()
    ((text, _),) = refuse(host, reason, vcpu_number)
    found = find(host)[reason.word]
    assert text.endswith(found)
    host.react(*end)
    host.settle()
    assert (reason.word not in find(host)) == bool(end)


def test_a_cause_that_comes_back_is_found_again() -> None:
    host = served()
    for is_enabled in (False, True, False):
        host.react(e.ChannelSwitched(UUID, 0, is_enabled=is_enabled))
        if not is_enabled:
            refuse(host, Refusal.DISABLED)
        assert bool(find(host)) is not is_enabled


def test_turbo_that_is_forbidden_names_who_forbids_it() -> None:
    host = served(Config(bounds=BoundsConfig(turbo=False)))
    ((text, _),) = refuse(host, Refusal.TURBO)
    assert text.endswith("(turbo): turbo is not allowed (host)")


def test_a_cause_is_reported_once_and_a_new_one_again() -> None:
    host = served()
    assert len(refuse(host, Refusal.NO_VCPU, 7)) == 1
    assert refuse(host, Refusal.NO_VCPU, 7) == []
    assert len(refuse(host, Refusal.NO_VCPU, 8)) == 1


def test_what_an_operator_did_himself_is_no_warning() -> None:
    host = served()
    severities = {
        reason: severity for reason in Refusal for _, severity in refuse(host, reason)
    }
    quiet = {reason for reason, how in severities.items() if how is Severity.INFO}
    assert quiet == {Refusal.OBSERVED, Refusal.DISABLED, Refusal.OVERRIDDEN}
    assert set(severities) == set(Refusal)


def test_causes_are_forgotten_when_the_counters_are() -> None:
    host = served()
    refuse(host, Refusal.UNIT)
    off = replace(host.domains[UUID], state=DomainState.SHUTOFF, run=-1, vcpus=())
    host.react(e.DomainDescribed(off, NOW_NS))
    host.settle()
    assert find(host) == {}


def test_a_cause_of_the_kernel_ends_with_its_reason() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    host.react(e.WriteRefused(0, errno.EINVAL))
    refuse(host, Refusal.KERNEL)
    assert find(host) == {
        "kernel": "the kernel refuses the frequency of CPU 0 (EINVAL)"
    }
    host.react(e.CpusSwitched(frozenset({PCpu(0)})))
    assert find(host) == {}


def test_drift_is_a_cause_until_the_group_is_retaken() -> None:
    host = served()
    host.react(e.TakeWanted(0))
    host.settle()
    for at_s in (1.0, 2.0):
        change = "the governor was changed"
        host.react(e.GroupDrifted(0, change, 7, ("TuneD",), at_s))
    refuse(host, Refusal.CLAIM)
    assert find(host)["claim"] == (
        "CPU 0: the governor was changed by another program, perhaps TuneD;"
        " 'vmpower cpu retake 0' takes it back"
    )
    host.react(e.GroupRetaken(0))
    host.settle()
    assert find(host) == {}


def test_a_policy_s_refusal_is_a_cause_too() -> None:
    host = served()
    source = Source(SourceKind.GUEST, channel=0)
    host.react(e.PolicyRefused(UUID, source, "no such interface"))
    assert find(host) == {"policy-refused": "no such interface"}
    assert find(host, 1) == {}


def test_who_is_gone_was_refused_nothing() -> None:
    host = served()
    gone = domain("gone").uuid
    assert host.react(e.RequestRefused(gone, 0, Refusal.UNIT, 0, 9)) == []
    assert host.react(e.RequestRefused(UUID, 9, Refusal.UNIT, 0, 9)) == []
