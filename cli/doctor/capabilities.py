# SPDX-License-Identifier: Apache-2.0
"""Which frequencies vmpower can set on each CPU; equal CPUs are grouped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
    from cli.output.doctor_documents import CapableCpus
    from orchestrator.power.group import ClockGroup


def list_capabilities(cpus: Cpus) -> list[CapableCpus]:
    """Group all CPUs by what vmpower can do with them."""
    found: dict[tuple[object, ...], list[int]] = {}
    policies = {pcpu: policy for policy in cpus.policies for pcpu in policy.pcpus}
    for pcpu in sorted(cpus.present):
        found.setdefault(_key(cpus, pcpu, policies.get(pcpu)), []).append(pcpu)
    return [
        _capability(cpus, pcpus, policies.get(pcpus[0])) for pcpus in found.values()
    ]


def _key(cpus: Cpus, pcpu: int, policy: CpufreqPolicy | None) -> tuple[object, ...]:
    group = _group(cpus, pcpu)
    return (
        policy and (policy.driver, cpus.mode_of(policy), policy.governor),
        policy and (policy.hardware_min_khz, policy.hardware_max_khz),
        group and (group.mechanism, group.steps),
        cpus.topology.unmanaged.get(PCpu(pcpu)),
    )


def _capability(
    cpus: Cpus, pcpus: list[int], policy: CpufreqPolicy | None
) -> CapableCpus:
    group = _group(cpus, pcpus[0])
    steps = group.steps if group else None
    low = policy.hardware_min_khz if policy else None
    high = policy.hardware_max_khz if policy else None
    return {
        "pcpus": pcpus,
        "driver": policy.driver if policy else "",
        "mode": cpus.mode_of(policy) or None if policy else None,
        "mechanism": group.mechanism if group else None,
        "governor": policy.governor if policy else "",
        "min_khz": steps.lowest_khz if steps else low,
        "max_khz": steps.highest_khz if steps else high,
        "nominal_khz": steps.nominal_khz if steps else None,
        "steps": len(steps.khz) if steps else 0,
        "has_turbo": bool(steps and steps.has_turbo),
        "reason": cpus.topology.unmanaged.get(PCpu(pcpus[0])) or None,
    }


def _group(cpus: Cpus, pcpu: int) -> ClockGroup | None:
    return cpus.topology.group_of(PCpu(pcpu))
