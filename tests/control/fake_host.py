# SPDX-License-Identifier: Apache-2.0
"""The host that the fake daemon serves: its domains and CPUs, as documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.control.models import (
    Bound,
    Channel,
    Cpu,
    Domain,
    GenerationRight,
    LatencyRight,
    ModeRight,
    OnboardingRight,
    Permission,
    Policy,
    PolicyWant,
    PreferenceRight,
    Rights,
    ThreadRight,
    UnmanagedCpu,
    Vcpu,
)
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.subject import SourceKind
from orchestrator.values.domain import TARGET_PREFIX, DomainState
from orchestrator.values.domain_settings import Mode, ThreadFrequency

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import PolicyKind

STEPS = (3_001_000, 3_000_000, 2_600_000, 2_200_000, 1_800_000, 1_200_000)
FIREWALL = "11111111-1111-4111-8111-111111111111"
ROUTER = "22222222-2222-4222-8222-222222222222"
WEB = "33333333-3333-4333-8333-333333333333"
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def channel(
    number: int,
    *,
    state: ChannelState = ChannelState.OPEN,
    requests: int = 0,
    nacks: int = 0,
    reason: str | None = None,
    generation: int | None = 464,
    nacked: dict[str, tuple[int, str]] | None = None,
) -> Channel:
    return Channel(
        number=number,
        target=f"{TARGET_PREFIX}{number}",
        path=f"/var/lib/libvirt/qemu/channel/target/domain-1-fw/{number}",
        state=state,
        requests_total=requests,
        acks_total=requests - nacks,
        nacks_total=nacks,
        dropped_total=0,
        late_total=0,
        errors_total=0,
        enabled=state is not ChannelState.DISABLED,
        reason=reason,
        generation=generation,
        generation_given=generation == 456,
        nack_reasons={word: count for word, (count, _) in (nacked or {}).items()},
        nack_causes={word: why for word, (_, why) in (nacked or {}).items() if why},
    )


def vcpu(
    number: int,
    *pcpus: int,
    requested_khz: int | None = None,
    reason: str | None = None,
) -> Vcpu:
    return Vcpu(
        vcpu=number,
        pcpus=pcpus,
        controllable=reason is None,
        reason=reason,
        requested_khz=requested_khz,
        wish_khz=requested_khz,
        clock_group=None if reason else pcpus[0] // 2 * 2,
        min_khz=None if reason else STEPS[-1],
        max_khz=None if reason else STEPS[2],
        min_source=None if reason else "hardware",
        max_source=None if reason else "rule dpdk-*",
        clock_groups=() if reason else (pcpus[0] // 2 * 2,),
        refusal="floating" if reason else None,
    )


def cpu(pcpu: int, grant_khz: int | None, *, claimed: bool = True) -> Cpu:
    return Cpu(
        pcpu=pcpu,
        clock_group=pcpu // 2 * 2,
        driver="acpi-cpufreq",
        mechanism="setspeed",
        governor="userspace" if claimed else "schedutil",
        claimed=claimed,
        simulated=True,
        min_khz=STEPS[-1],
        max_khz=STEPS[0],
        grant_khz=grant_khz,
        current_khz=grant_khz or 2_200_000,
        steps_khz=STEPS,
        nominal_khz=STEPS[1],
        package=pcpu // 4,
        core=pcpu // 2 * 2,
        node=pcpu // 4,
    )


def policy(
    source: SourceKind,
    kind: PolicyKind,
    *wants: PolicyWant,
    name: str = "",
    problem: str | None = None,
) -> Policy:
    return Policy(
        source=source,
        name=name,
        channel=1 if source is SourceKind.GUEST else None,
        kind=kind,
        text=str(kind),
        wants=wants,
        problem=problem,
    )


RIGHTS = Rights(
    min_khz=Bound(value=None, source="default"),
    max_khz=Bound(value=2_600_000, source="rule dpdk-*"),
    turbo=Permission(value=False, source="host"),
    mode=ModeRight(value=Mode.ENFORCE, source="metadata"),
    queries=Permission(value=True, source="default"),
    guest_policies=Permission(value=True, source="default"),
    generation=GenerationRight(value=None, source="default"),
    onboarding=OnboardingRight(value="none", source="default"),
    idle_latency_us=LatencyRight(value=50, source="rule dpdk-*"),
    epp=PreferenceRight(value=None, source="default"),
    emulator=ThreadRight(value=ThreadFrequency.NONE, source="default"),
)
DOMAINS = (
    Domain(
        uuid=FIREWALL,
        name="dpdk-fw",
        id=1,
        state=DomainState.RUNNING,
        mode=Mode.ENFORCE,
        vcpus=(
            vcpu(0, 2, requested_khz=2_600_000),
            vcpu(1, 3, requested_khz=1_800_000),
            vcpu(2, 4, 6, reason="pinned to CPUs of more than one clock group: 4,6"),
        ),
        channels=(
            channel(
                0,
                requests=12_345,
                nacks=3,
                nacked={
                    "turbo": (1, "turbo is not allowed (host)"),
                    "no-vcpu": (2, "it named vCPU 7, and has only vCPUs 0-2"),
                },
            ),
            channel(1, requests=88),
            channel(2, requests=5, nacks=5, nacked={"floating": (5, "")}),
        ),
        rights=RIGHTS,
        policies=(
            policy(
                SourceKind.RULE,
                Utilisation.kind,
                PolicyWant(vcpu=0, khz=1_200_000, counts=False),
                PolicyWant(vcpu=1, khz=1_800_000),
                name="dpdk-*[0]",
            ),
            policy(
                SourceKind.OPERATOR,
                Traffic.kind,
                PolicyWant(vcpu=0, khz=None),
                name="cli",
                problem="vnet0 is gone",
            ),
        ),
        problems=("metadata, line 7: max='fast': invalid frequency",),
    ),
    Domain(
        uuid=ROUTER,
        name="dpdk-router",
        id=2,
        state=DomainState.PAUSED,
        mode=Mode.OBSERVE,
        vcpus=(vcpu(0, 4), vcpu(1, 5)),
        channels=(
            channel(0, state=ChannelState.DISABLED, requests=7),
            channel(
                1,
                state=ChannelState.CONTENDED,
                generation=None,
                reason="another program is connected to it",
            ),
            channel(9, requests=2, generation=456),
        ),
        problems=("channel 5 appears twice, the second one is left alone",),
    ),
    Domain(
        uuid=WEB,
        name="web",
        state=DomainState.SHUTOFF,
        mode=Mode.ENFORCE,
        vcpus=(),
        channels=(),
    ),
)
CPUS = (
    cpu(0, None, claimed=False),
    cpu(1, None, claimed=False),
    cpu(2, 2_600_000),
    cpu(3, 2_600_000),
    cpu(4, None, claimed=False),
    cpu(5, None, claimed=False),
)
UNMANAGED = (UnmanagedCpu(pcpu=6, reason="offline"),)
