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
    CurvePoint,
    Domain,
    DomainEnergy,
    EnergyPackage,
    GenerationRight,
    HostEnergy,
    LatencyRight,
    ModeRight,
    OnboardingRight,
    Permission,
    Policy,
    PolicyWant,
    PowerCurve,
    PreferenceRight,
    Rights,
    SavedValue,
    ThreadRight,
    UnmanagedCpu,
    Vcpu,
)
from orchestrator.energy.residency import Activity, MeterSource
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


def domain_energy(watts: float, saved: float) -> DomainEnergy:
    return DomainEnergy(
        watts=watts,
        error_watts=0.4,
        saved_watts=saved,
        saved_error_watts=0.2,
        possible_watts=saved,
        joules_total=1_000 * watts,
        error_joules_total=400.0,
        saved_joules_total=1_000 * saved,
        saved_error_joules_total=200.0,
        possible_joules_total=1_000 * saved,
        saved=SavedValue(
            kwh=round(saved / 3_600, 6),
            money=round(saved / 12_000, 6),
            currency="EUR",
            co2_g=round(saved / 9, 3),
        ),
    )


HOST_ENERGY = HostEnergy(
    source=MeterSource.POWERCAP,
    modelled=False,
    measured_watts=68.4,
    static_watts=41.0,
    static_calibrated=True,
    idle_watts=0.6,
    host_watts=2.1,
    domains_watts=24.7,
    error_watts=0.9,
    dram_watts=8.2,
    saved_watts=6.3,
    saved_error_watts=0.3,
    possible_watts=9.9,
    measured_joules_total=68_400.0,
    static_joules_total=41_000.0,
    idle_joules_total=600.0,
    host_joules_total=2_100.0,
    domains_joules_total=24_700.0,
    saved_joules_total=6_300.0,
    saved_error_joules_total=300.0,
    possible_joules_total=9_900.0,
    saved=SavedValue(kwh=0.00175, money=0.000525, currency="EUR", co2_g=0.7),
    measured_history_watts=(70.1, 69.0, 68.4),
    saved_history_watts=(5.1, 6.0, 6.3),
)
METER_W = 61.5
PACKAGE_ENERGY = EnergyPackage(
    package=0,
    measured_joules_total=68_400.0,
    measured_seconds_total=1_000.0,
    cores=4,
    static_watts=41.0,
    static_calibrated=True,
    residual_watts=0.5,
    observations_total=7_200,
    ceiling_khz=2_900_000,
    curves=tuple(
        PowerCurve(
            activity=activity,
            points=(
                CurvePoint(khz=1_200_000, watts=1.1 * factor),
                CurvePoint(khz=3_001_000, watts=4.2 * factor),
            ),
        )
        for activity, factor in ((Activity.POLL, 1.0), (Activity.OTHER, 1.4))
    ),
)
RIGHTS = Rights(
    min_khz=Bound(value=None, source="default"),
    max_khz=Bound(value=2_600_000, source="rule dpdk-*"),
    turbo=Permission(value=False, source="host"),
    mode=ModeRight(value=Mode.ENFORCE, source="metadata"),
    queries=Permission(value=True, source="default"),
    energy_queries=Permission(value=True, source="default"),
    guest_policies=Permission(value=True, source="default"),
    rapl=Permission(value=False, source="default"),
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
        energy=domain_energy(18.2, 6.3),
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
        energy=domain_energy(6.5, 0.0).model_copy(update={"possible_watts": 3.6}),
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
