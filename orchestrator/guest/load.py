# SPDX-License-Identifier: Apache-2.0
"""The load of each vCPU, as the guest's kernel counts it.

Source: proc(5), /proc/stat: jiffies per CPU since boot.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import ConfigError

PROC_STAT = Path("/proc/stat")

_HINT = f"omit --stat: the default is {PROC_STAT}"
_IDLE, _IOWAIT = 3, 4
# user, nice, system, idle, iowait, irq, softirq, steal; the time of nested guests is
# included in user and nice.
_COUNTED = 8


class CpuTimes(NamedTuple):
    """Times of a vCPU since boot, in jiffies."""

    busy: int
    """Includes stolen time: the vCPU was runnable, but the host did not run it."""
    total: int


def parse_stat(text: str) -> dict[int, CpuTimes]:
    """Parse /proc/stat: the times of each online vCPU."""
    times = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        number = name[3:]
        if name.startswith("cpu") and number.isdigit():
            jiffies = [int(field) for field in rest.split()[:_COUNTED]]
            total = sum(jiffies)
            times[int(number)] = CpuTimes(
                busy=total - jiffies[_IDLE] - jiffies[_IOWAIT], total=total
            )
    return times


def loads_between(
    before: dict[int, CpuTimes], after: dict[int, CpuTimes]
) -> dict[int, float]:
    """Return the share of time, 0 to 1, that each vCPU was busy.

    A vCPU that was offline, or for which no jiffy has passed, is omitted.
    """
    loads = {}
    for vcpu, now in after.items():
        then = before.get(vcpu)
        if then is not None and now.total > then.total:
            share = (now.busy - then.busy) / (now.total - then.total)
            loads[vcpu] = min(1.0, max(0.0, share))
    return loads


def read_times(path: Path = PROC_STAT) -> dict[int, CpuTimes]:
    """Read the times of each vCPU since boot.

    Raises:
        ConfigError: the file cannot be read, or is not like /proc/stat.
    """
    try:
        times = parse_stat(path.read_text(encoding="ascii"))
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"cannot read loads from {path}: {error}", hint=_HINT
        ) from error
    if not times:
        raise ConfigError(f"cannot read loads from {path}: no vCPU found", hint=_HINT)
    return times
