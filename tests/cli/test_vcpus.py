# SPDX-License-Identifier: Apache-2.0
"""The source of a vCPU's frequency, and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from cli.output.tables.cells import step_name
from cli.output.tables.rights import list_settings
from cli.output.tables.vcpus import bounds, cpu_of, limited_by, set_by
from tests.control.fake_host import DOMAINS, RIGHTS, STEPS, cpu, policy, vcpu

if TYPE_CHECKING:
    from orchestrator.control.documents import Cpu, Domain, Rights, Vcpu
    from orchestrator.control.models import Document

from orchestrator.control.models import PolicyWant
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.subject import SourceKind

LOW, HIGH = STEPS[-1], STEPS[2]
RULE, GUEST, OPERATOR = SourceKind.RULE, SourceKind.GUEST, SourceKind.OPERATOR


def plain(document: Document) -> dict[str, object]:
    return document.model_dump(mode="json")


def source_of(
    requested_khz: int | None,
    *policies: tuple[SourceKind, int | None, bool],
    **more: object,
) -> str:
    """Return the source of the frequency of vCPU 0."""
    policy_list = [
        policy(source, FixedWorkload.kind, PolicyWant(vcpu=0, khz=khz, counts=counts))
        for source, khz, counts in policies
    ]
    domain = plain(DOMAINS[0]) | {"policies": [plain(one) for one in policy_list]}
    own = plain(vcpu(0, 2, requested_khz=requested_khz))
    found = plain(cpu(2, HIGH)) | more
    return set_by(cast("Domain", domain), cast("Vcpu", own), cast("Cpu", found)).text


@pytest.mark.parametrize(
    ("requested_khz", "policies", "words"),
    [
        (None, [], "vmpowerd (no request)"),
        (HIGH, [], "guest"),
        (LOW, [(RULE, LOW, True)], "workload, rule"),
        (HIGH, [(RULE, LOW, True)], "guest, above policy"),
        (HIGH, [(RULE, None, True)], "guest"),
        (None, [(RULE, None, True)], "vmpowerd (no request)"),
        (LOW, [(RULE, LOW, False), (OPERATOR, LOW, True)], "workload, operator"),
        (HIGH, [(RULE, LOW, True), (GUEST, HIGH, True)], "workload, guest ch. 1"),
    ],
)
def test_the_source_of_the_effective_request_is_shown(
    requested_khz: int | None,
    policies: list[tuple[SourceKind, int | None, bool]],
    words: str,
) -> None:
    assert source_of(requested_khz, *policies) == words


def test_an_override_or_the_governor_is_shown_as_the_source() -> None:
    assert source_of(LOW, (RULE, LOW, True), override_khz=HIGH) == "override"
    assert source_of(LOW, claimed=False, governor="schedutil") == "governor schedutil"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1_200_000, 2_600_000, "1.20-2.60 GHz"),
        (800_000, 3_001_000, "800 MHz-3.00 GHz turbo"),
        (1_200_000, 1_200_000, "1.20 GHz"),
        (None, None, "-"),
    ],
)
def test_limits_are_shown_as_a_range(
    low: int | None, high: int | None, words: str
) -> None:
    own = cast("Vcpu", plain(vcpu(0, 2)) | {"min_khz": low, "max_khz": high})
    assert bounds(own, cast("Cpu", plain(cpu(2, HIGH)))).text == words


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (("hardware", "hardware"), "-"),
        (("hardware", "turbo off (host)"), "max: turbo off (host)"),
        (("metadata", "rule fw*"), "min: metadata; max: rule fw*"),
        ((None, None), "-"),
    ],
)
def test_the_sources_of_limits_are_shown_but_not_the_hardware(
    sources: tuple[str | None, str | None], words: str
) -> None:
    low, high = sources
    own = plain(vcpu(0, 2)) | {"min_source": low, "max_source": high}
    assert limited_by(cast("Vcpu", own)).text == words


def test_sources_that_an_older_daemon_does_not_report_are_not_shown() -> None:
    older = plain(vcpu(0, 2))
    del older["min_source"], older["max_source"]
    assert limited_by(cast("Vcpu", older)).text == "-"


def settings_of(*vcpus: dict[str, object], **rights: object) -> dict[str, str]:
    """Return value and source of each limit as they are shown."""
    own = cast("Rights", plain(RIGHTS) | rights)
    found = list_settings(own, cast("list[Vcpu]", list(vcpus)))
    return {item.label: f"{item.value} {item.source}" for item in found[:2]}


def test_a_limit_that_another_source_narrows_is_shown_with_both() -> None:
    capped = plain(vcpu(0, 2)) | {"max_khz": 2_000_000, "max_source": "host"}
    shown = settings_of(capped, capped)
    assert shown["Max frequency"] == "2.00 GHz host (domain: 2.60 GHz)"
    assert shown["Min frequency"] == "no limit default"
    unset = {"max_khz": {"value": None, "source": "default"}}
    assert settings_of(capped, **unset)["Max frequency"] == "2.00 GHz host"


def test_vcpus_with_different_limits_leave_the_domain_s_own_as_the_setting() -> None:
    capped = plain(vcpu(0, 2)) | {"max_khz": 2_000_000, "max_source": "kernel"}
    shown = settings_of(capped, plain(vcpu(1, 3)))
    assert shown["Max frequency"] == "2.60 GHz rule dpdk-*"


def test_a_floating_vcpu_has_no_frequency() -> None:
    floating = cast("Vcpu", plain(vcpu(0, 2, 4, reason="it floats")))
    cpus = {2: cast("Cpu", plain(cpu(2, HIGH)))}
    assert cpu_of(floating, cpus) is None
    assert set_by(cast("Domain", plain(DOMAINS[0])), floating, None).text == "-"
    bound = cast("Vcpu", plain(vcpu(0, 2)))
    assert cpu_of(bound, cpus) is cpus[2]


@pytest.mark.parametrize(
    ("khz", "nominal_khz", "text"),
    [
        (3_000_000, 3_000_000, "3.00 GHz"),
        (3_001_000, 3_000_000, "3.00 GHz turbo"),
        (3_700_000, 3_000_000, "3.70 GHz turbo"),
        (3_001_000, 3_001_000, "3.00 GHz"),
        (3_001_000, None, "3.00 GHz"),
    ],
)
def test_frequencies_above_the_nominal_one_are_marked_as_turbo(
    khz: int, nominal_khz: int | None, text: str
) -> None:
    one = cast("Cpu", plain(cpu(2, HIGH)) | {"nominal_khz": nominal_khz})
    assert step_name(khz, one) == text


def test_no_frequency_is_marked_as_turbo_without_the_nominal_one() -> None:
    older = plain(cpu(2, HIGH))
    del older["nominal_khz"]
    assert step_name(3_001_000, cast("Cpu", older)) == "3.00 GHz"
