"""How busy each vCPU was, as this guest's own kernel counts it.

Source: proc(5), /proc/stat: jiffies per CPU since boot.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import ConfigError

PROC_STAT = Path("/proc/stat")

_CURE = f"leave --stat out: {PROC_STAT} is what the kernel counts"
_IDLE, _IOWAIT = 3, 4
# user, nice, system, idle, iowait, irq, softirq, steal; what guests of this guest
# used is in user and nice already.
_COUNTED = 8


class CpuTimes(NamedTuple):
    """What a vCPU has done since boot, in jiffies."""

    busy: int
    """Includes stolen time: then it wanted to run, and the host let it wait."""
    total: int


def parse_stat(text: str) -> dict[int, CpuTimes]:
    """Read /proc/stat: the times of each vCPU that is online."""
    times = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        number = name[3:]
        if name.startswith("cpu") and number.isdigit():
            jiffies = [int(word) for word in rest.split()[:_COUNTED]]
            total = sum(jiffies)
            times[int(number)] = CpuTimes(
                busy=total - jiffies[_IDLE] - jiffies[_IOWAIT], total=total
            )
    return times


def loads_between(
    before: dict[int, CpuTimes], after: dict[int, CpuTimes]
) -> dict[int, float]:
    """Return the share of time, 0 to 1, that each vCPU was busy.

    A vCPU that was not online both times, or has not counted a jiffy, is left out.
    """
    loads = {}
    for vcpu, now in after.items():
        then = before.get(vcpu)
        if then is not None and now.total > then.total:
            share = (now.busy - then.busy) / (now.total - then.total)
            loads[vcpu] = min(1.0, max(0.0, share))
    return loads


def read_times(path: Path = PROC_STAT) -> dict[int, CpuTimes]:
    """Read what each vCPU has done since boot.

    Raises:
        ConfigError: the file is not like /proc/stat.
    """
    try:
        times = parse_stat(path.read_text(encoding="ascii"))
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(f"{path} does not tell loads: {error}", hint=_CURE) from error
    if not times:
        raise ConfigError(f"{path} names no vCPU", hint=_CURE)
    return times
