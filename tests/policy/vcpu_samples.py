# SPDX-License-Identifier: Apache-2.0
"""Views for policies, by hand and by the thousand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from examples.contributing.policy_kind import AnyTraffic
from orchestrator.limits import Limits, window_of
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.contract import PolicyView, VCpuSample
from orchestrator.policy.kinds.energy_preference import PreferredEnergy
from orchestrator.policy.kinds.idle_latency import IdleLatency
from orchestrator.policy.kinds.packet_rate import PacketRate
from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.timetable import whole_hours
from orchestrator.sampling.branches import BranchCount
from orchestrator.sampling.kinds import SampleKind
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.frequencies import table_from
from orchestrator.values.units import Microseconds

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import Policy

STEPS = (3_001_000, 3_000_000, 2_400_000, 2_000_000, 1_200_000)
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
"""A Wednesday."""

TRAFFIC = Traffic(avg_pps=1_800_000, max_pps=2_000_000)
POLICIES: dict[str, Policy[Any, Any]] = {
    "traffic": TRAFFIC,
    "packet-rate": PacketRate(capacity_pps=4_000_000),
    "time-of-day": TimeOfDay(
        busy=whole_hours([3, 4, 5]),
        quiet=whole_hours([0, 12]),
        traffic=whole_hours([8, 10]),
        otherwise=Otherwise.UNCHANGED,
        avg_pps=TRAFFIC.avg_pps,
        max_pps=TRAFFIC.max_pps,
    ),
    "time-of-day without traffic": TimeOfDay(traffic=whole_hours(range(24))),
    "workload high": FixedWorkload(workload=Workload.HIGH),
    "workload medium": FixedWorkload(workload=Workload.MEDIUM),
    "workload low": FixedWorkload(workload=Workload.LOW),
    "branch-ratio": BranchRatio(window=3),
    "utilisation": Utilisation(),
    "latency": IdleLatency(idle_latency_us=Microseconds(20)),
    "epp": PreferredEnergy(epp=EnergyPreference("power")),
    "any-traffic, the example": AnyTraffic(),
}


def view(*vcpus: VCpuSample[Any], now: datetime = NOON) -> PolicyView[Any]:
    return PolicyView(now=now, monotonic_s=0.0, vcpus=vcpus or (sample(),))


def sample(
    vcpu: int = 0, value: object = None, *, steps: tuple[int, ...] = STEPS
) -> VCpuSample[Any]:
    return VCpuSample(vcpu=vcpu, window=window_of(table_from(steps)), value=value)


_COUNTS = st.integers(0, 10**12)
VALUES: dict[SampleKind | None, st.SearchStrategy[Any]] = {
    None: st.none(),
    SampleKind.PACKETS: st.none() | st.floats(0, 1e9),
    SampleKind.BRANCHES: st.none()
    | st.builds(BranchCount, _COUNTS, _COUNTS, st.floats(1e-6, 1e6, allow_nan=False)),
    SampleKind.VCPU_TIME: st.none() | st.floats(0, 1),
}
_limits = st.builds(Limits, st.integers(0, 6_000_000), st.integers(1, 6_000_000))
_windows = st.builds(
    window_of,
    st.sets(st.integers(1, 6_000_000), min_size=1, max_size=12).map(table_from),
    _limits,
)
_zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


def views(policy: Policy[Any, Any]) -> st.SearchStrategy[PolicyView[Any]]:
    """Any view that a policy can be given."""
    samples = st.builds(
        VCpuSample,
        vcpu=st.integers(0, 300),
        window=_windows,
        value=VALUES[policy.sample],
    )
    return st.builds(
        PolicyView,
        now=st.datetimes(
            min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - the zone comes separately
            max_value=datetime(2090, 1, 1),  # noqa: DTZ001
            timezones=_zones,
        ),
        monotonic_s=st.floats(0, 1e9),
        vcpus=st.lists(samples, max_size=5, unique_by=lambda it: it.vcpu).map(tuple),
    )
