# SPDX-License-Identifier: Apache-2.0
"""Measurements for `vmpower energy calibrate`.

The daemon reads the meters; this module makes the CPUs idle or busy, and compares what
was counted before and after.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.curves import choose_points
from orchestrator.energy.profiles import IDLE_CORE_W
from orchestrator.errors import VmpowerError
from orchestrator.values.quantities import format_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.control.client import ControlClient
    from orchestrator.control.documents import Cpu, CurvePoint, StaticPower, Status

UPTIME = Path("/proc/uptime")
MAX_BUSY = 0.03
"""Share of the CPUs' time that an idle host may be busy."""
_SETTLE_S = 1.5
"""For the daemon's next sample, and for frequencies to change."""
_SPIN = """\
import os, sys
parent = int(sys.argv[1])
os.sched_setaffinity(0, {int(sys.argv[2])})
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


class CalibrationError(VmpowerError):
    """The host is not in the state that a measurement needs."""


class _Interval(NamedTuple):
    """What happened in a measurement."""

    watts: dict[int, float]
    """By package."""
    cores: dict[int, int]
    """Online cores by package."""
    busy: float
    """Share of the time that the CPUs were busy."""


def measure_static(client: ControlClient, seconds: float) -> list[StaticPower]:
    """Return the power of each package with all cores idle, in watts.

    Raises:
        CalibrationError: the host is not idle, or has no meter.
    """
    seen = _measure(client, seconds)
    if seen.busy > MAX_BUSY:
        raise CalibrationError(
            "the host is not idle: its CPUs were busy for"
            f" {format_share(seen.busy)} of the time",
            hint="shut domains off, or measure after booting, before they are started",
        )
    return [
        {
            "package": number,
            "watts": round(max(0.0, watts - IDLE_CORE_W * seen.cores[number]), 3),
        }
        for number, watts in seen.watts.items()
    ]


def measure_steps(client: ControlClient, seconds: float) -> list[CurvePoint]:
    """Return the power of a busy core at some steps.

    Raises:
        CalibrationError: no clock group is free, or the host has no meter.
    """
    free = find_free(client.status())
    points: list[CurvePoint] = []
    groups = {cpu["clock_group"]: cpu["pcpu"] for cpu in free}
    try:
        base = _measure(client, seconds)
        for khz in choose_points(free[0]["steps_khz"]):
            for pcpu in groups.values():
                client.override(pcpu, khz)
            with _busy(one_of_each_core(free)) as count:
                seen = _measure(client, seconds)
            more = sum(seen.watts.values()) - sum(base.watts.values())
            watts = max(0.0, more / count + IDLE_CORE_W)
            points.append({"khz": khz, "watts": round(watts, 3)})
    finally:
        for pcpu in groups.values():
            client.release(pcpu)
    return _as_rising(points)


def _as_rising(points: list[CurvePoint]) -> list[CurvePoint]:
    """Raise what fell by noise: power does not fall with the frequency."""
    highest = 0.0
    for point in points:
        highest = point["watts"] = max(highest, point["watts"])
    return points


def find_free(status: Status) -> list[Cpu]:
    """Return the CPUs of clock groups that no vCPU may run on, with the same steps.

    Raises:
        CalibrationError: there is none.
    """
    used = {
        pcpu
        for domain in status["domains"]
        for vcpu in domain["vcpus"]
        for pcpu in vcpu["pcpus"]
    }
    used |= {
        pcpu
        for domain in status["domains"]
        for thread in domain["threads"]
        for pcpu in thread["pcpus"]
    }
    groups: dict[int, list[Cpu]] = {}
    for cpu in status["cpus"]:
        groups.setdefault(cpu["clock_group"], []).append(cpu)
    free = [
        group
        for group in groups.values()
        if not any(cpu["pcpu"] in used or cpu["override_khz"] for cpu in group)
    ]
    if not free:
        raise CalibrationError(
            "no free CPU: a vCPU may run on each clock group",
            hint="pin vCPUs, or measure after booting, before domains are started",
        )
    steps = free[0][0]["steps_khz"]
    return [cpu for group in free for cpu in group if cpu["steps_khz"] == steps]


def one_of_each_core(cpus: list[Cpu]) -> list[int]:
    """Return one CPU of each core: two busy threads of one draw little more."""
    found: dict[int, int] = {}
    for cpu in cpus:
        core = cpu["pcpu"] if cpu["core"] is None else cpu["core"]
        found.setdefault(core, cpu["pcpu"])
    return list(found.values())


@contextmanager
def _busy(pcpus: Iterable[int]) -> Iterator[int]:
    """Keep CPUs busy, and return how many."""
    spinners = [
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SPIN, str(os.getpid()), str(pcpu)]
        )
        for pcpu in pcpus
    ]
    try:
        yield len(spinners)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def _measure(client: ControlClient, seconds: float) -> _Interval:
    time.sleep(_SETTLE_S)
    before, began_s, idle_before_s = _counted(client), time.monotonic(), _idle_s()
    time.sleep(seconds)
    after, ended_s, idle_s = _counted(client), time.monotonic(), _idle_s()
    passed_s = ended_s - began_s
    cpus = os.cpu_count() or 1
    return _Interval(
        watts={
            number: (joules - before[number][0]) / passed_s
            for number, (joules, _) in after.items()
            if number in before
        },
        cores={number: cores for number, (_, cores) in after.items()},
        busy=max(0.0, 1 - (idle_s - idle_before_s) / passed_s / cpus),
    )


def _counted(client: ControlClient) -> dict[int, tuple[float, int]]:
    """Return joules and cores by package."""
    found = {}
    for package in client.energy()["packages"]:
        joules = package["measured_joules_total"]
        if joules is not None:
            found[package["package"]] = (joules, package["cores"])
    if not found:
        raise CalibrationError(
            "no energy meter: nothing can be measured",
            hint="see 'vmpower energy show' for the source of its figures",
        )
    return found


def _idle_s() -> float:
    return float(UPTIME.read_text(encoding="ascii").split()[1])
