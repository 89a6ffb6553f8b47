# SPDX-License-Identifier: Apache-2.0
"""An operator's policy is refused, set with warnings, or set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.errors import ControlError
from orchestrator.operations.policy_check import check_policy
from orchestrator.policy.compile import order_of
from orchestrator.policy.text import parse_policies
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import (
    DomainId,
    DomainSpec,
    DomainState,
    InterfaceKind,
    InterfaceSpec,
)
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import Microseconds
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain, topology, vcpu

TAP = InterfaceSpec(mac="52:54:00:12:34:56", kind=InterfaceKind.TAP, device="vnet0")
SPEC = domain(
    vcpus=(vcpu(0, 2), vcpu(1, 3), vcpu(2, 4, 5), vcpu(3, 4, 5), vcpu(4, 7)),
    interfaces=(TAP,),
)

FLOATS = "floats over CPUs 4-5: pin it to one clock group"


def served(spec: DomainSpec = SPEC, config: Config | None = None) -> SimulatedHost:
    host = SimulatedHost(config or Config(), topology(shared=1, offline=[7]))
    host.domains[spec.uuid] = spec
    host.start()
    host.settle()
    return host


def check(host: SimulatedHost, text: str) -> tuple[str, ...]:
    (rule,) = parse_policies(text)
    vcpus = None if rule.vcpus is None else parse_cpulist(rule.vcpus)
    return check_policy(host.inventory, SPEC.uuid, order_of(rule, vcpus))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("workload low vcpus=0,5-6,9", "the domain has no vCPU 5-6,9"),
        (
            "traffic avg-pps=1 max-pps=2 macs=52:54:00:12:34:56 macs=52:54:00:00:00:01",
            "the domain has no interface 52:54:00:00:00:01",
        ),
    ],
)
def test_a_policy_for_what_the_domain_does_not_have_is_refused(
    text: str, error: str
) -> None:
    with pytest.raises(ControlError) as caught:
        check(served(), text)
    assert str(caught.value) == f"policy not set: {error}"
    assert caught.value.status == 409


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"state": DomainState.SHUTOFF}, "the domain is not running"),
        ({"vcpus": ()}, "the domain has no vCPUs"),
    ],
)
def test_a_domain_that_can_have_no_policy_is_named_as_the_cause(
    changes: dict[str, object], error: str
) -> None:
    host = served(replace(SPEC, **changes))  # type: ignore[arg-type]
    with pytest.raises(ControlError, match=f"^policy not set: {error}$"):
        check(host, "utilisation")


def test_an_unknown_domain_is_not_found() -> None:
    (rule,) = parse_policies("utilisation")
    order = order_of(rule, None)
    with pytest.raises(ControlError, match="no such domain: x") as caught:
        check_policy(served().inventory, DomainId("x"), order)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("workload low vcpus=0-1", []),
        (
            "workload low vcpus=1-2",
            [f"no effect on vCPU 2 now: {FLOATS}"],
        ),
        (
            "workload low",
            [
                f"no effect on vCPU 2-3 now: {FLOATS}",
                "no effect on vCPU 4 now: pinned to offline CPUs only: 7",
            ],
        ),
        ("latency=20us vcpus=0-3", []),
        (
            "latency=20us",
            ["no effect on vCPU 4 now: pinned to offline CPUs only: 7"],
        ),
        (
            "epp=power vcpus=1-2",
            ["no effect on vCPU 2 now: it is not pinned into one clock group"],
        ),
    ],
)
def test_what_may_be_pinned_later_is_a_warning(text: str, warnings: list[str]) -> None:
    assert [*check(served(), text)] == warnings


def test_an_override_is_a_warning_while_it_lasts() -> None:
    host = served()
    host.react(e.OverrideSet(2, 2_000_000, "root"))
    host.settle()
    assert check(host, "workload low vcpus=0-1") == (
        "no effect on vCPU 0 until the override ends: 'vmpower cpu release 2'",
    )
    host.react(e.OverrideReleased(2, "root"))
    host.settle()
    assert check(host, "workload low vcpus=0-1") == ()


def test_observe_is_a_warning_with_its_source() -> None:
    host = served(config=Config(mode=Mode.OBSERVE))
    assert check(host, "workload low vcpus=0") == (
        "no effect while the domain is in mode 'observe' (host)",
    )
    own = replace(SPEC, settings=DomainSettings(mode=Mode.OBSERVE))
    assert check(served(own), "workload low vcpus=0") == (
        "no effect while the domain is in mode 'observe' (metadata)",
    )


def test_a_setting_beside_which_a_policy_has_no_effect_is_a_warning() -> None:
    own = DomainSettings(idle_latency_us=Microseconds(10), epp=EnergyPreference("128"))
    host = served(replace(SPEC, settings=own))
    assert check(host, "latency=20us vcpus=0") == (
        "no effect on the idle latency: it is limited to 10 us (metadata)",
    )
    assert check(host, "workload=low epp=power idle-latency-us=5 vcpus=0") == (
        "no effect on the energy preference: the domain has 128 (metadata)",
    )
    assert check(host, "epp=performance vcpus=0") == ()


def test_a_latency_has_no_effect_on_a_vcpu_that_is_not_pinned() -> None:
    everywhere = replace(SPEC, vcpus=(vcpu(0, *range(8)),))
    (warning,) = check(served(everywhere), "latency=20us")
    assert warning == "no effect on vCPU 0 now: it is not pinned"
