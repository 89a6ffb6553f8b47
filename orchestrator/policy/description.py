"""A policy at work in the words in which it could have been typed; pure."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.timetable import format_window
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.policy.subject import PolicyOrder

_HIDDEN = frozenset({"window", "fewest_branches_per_s"})
"""Nobody can choose them."""


def describe(order: PolicyOrder) -> str:
    """Write a policy, as in `utilisation up-above=0.9 vcpus=0-3`.

    `policy_text.parse_policies` makes the same policy of it.
    """
    words = [str(order.policy.kind), *_parameters(order.policy)]
    if order.vcpus is not None:
        words.append(f"vcpus={format_cpulist(order.vcpus)}")
    words += [f"macs={mac}" for mac in sorted(order.macs or ())]
    return shlex.join(words)


def _parameters(policy: Any) -> Iterator[str]:  # noqa: ANN401 - one of several classes
    if isinstance(policy, TimeOfDay):
        yield from _times(policy)
        return
    if isinstance(policy, FixedWorkload):
        yield str(policy.workload)
    for item in fields(policy):
        value = getattr(policy, item.name)
        is_plain = value == item.default and item.default is not MISSING
        if not is_plain and item.name not in (*_HIDDEN, "workload"):
            yield f"{item.name.replace('_', '-')}={value}"


def _times(policy: TimeOfDay) -> Iterator[str]:
    kinds = {
        "busy": policy.busy,
        "quiet": policy.quiet,
        "traffic": policy.by_traffic if policy.traffic else (),
    }
    for name, windows in kinds.items():
        yield from (f"{name}={format_window(window)}" for window in windows)
    if policy.traffic is not None:
        yield f"avg-pps={policy.traffic.avg_pps}"
        yield f"max-pps={policy.traffic.max_pps}"
    if policy.zone is not None:
        yield f"zone={policy.zone.key}"
    if policy.period_s != TimeOfDay.__dataclass_fields__["period_s"].default:
        yield f"period-s={policy.period_s}"
