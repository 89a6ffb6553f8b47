# SPDX-License-Identifier: Apache-2.0
"""Calibrates with Linux's powercap, beside what a busy core really draws.

Runs in the lab `RAPL`: ``python3 -m tests.performer.calibration_on_linux``. The
measurements are those of `vmpower energy calibrate`, with its own processes that keep
CPUs busy; frequencies are set by the monitor, and meters are read by the sampler. Only
the API between them is left out: the lab has no room for what it is made of.

What this program itself draws is left out: emulated CPUs take turns, so on a busy
machine it takes longer while others are kept busy.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.commands import energy_calibration
from orchestrator.energy.attribution import Package
from orchestrator.energy.observer import HostPlan
from orchestrator.performer.energy_sampler import EnergyJob, EnergySampler
from orchestrator.power.sysfs import CpuTree
from tests.performer.energy_on_linux import (
    OWN_CPU,
    STATIC_W,
    STEPS_KHZ,
    Grants,
    busy_w,
    drawn_j,
    prepare_cpus,
)

if TYPE_CHECKING:
    from orchestrator.energy.state import EnergyState

SECONDS = 6.0


class Daemon:
    """What a calibration needs of the daemon's API, with the calls of its client."""

    def __init__(self) -> None:
        prepare_cpus()
        self._grants = Grants()
        self._sampler = EnergySampler(CpuTree(Path("/sys")), lambda _name: None)
        self._sampled: tuple[EnergyState, float] | None = None
        """The last sample, and how many joules this program had drawn then."""
        self._is_over = threading.Event()
        package = Package(
            number=0, cores=4, groups=frozenset(range(4)), steps_khz=STEPS_KHZ
        )
        self._plan = HostPlan(packages={0: package}, domains={}, cpus=4)
        self._sample(self._plan)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _sample(self, plan: HostPlan | None = None) -> None:
        found = self._sampler.sample(
            EnergyJob(
                plan=plan,
                names={},
                pcpu_packages=dict.fromkeys(range(4), 0),
                groups=tuple(range(4)),
                grants=self._grants.read(),
                grants_ns=time.monotonic_ns(),
                votes_khz={},
            )
        )
        if found is not None:
            self._sampled = found.state, drawn_j(OWN_CPU, "busy_nj")

    def _run(self) -> None:
        while not self._is_over.wait(1.0):
            self._sample()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    # The API

    def status(self) -> dict[str, Any]:
        cpus = [
            {
                "pcpu": pcpu,
                "clock_group": pcpu,
                "core": pcpu,
                "override_khz": None,
                "steps_khz": list(STEPS_KHZ),
            }
            for pcpu in self._grants.cpus
        ]
        return {"domains": [], "cpus": cpus}

    def energy(self) -> dict[str, Any]:
        state, own_j = self._sampled or (None, 0.0)
        packages = state.packages if state else {}
        return {
            "enabled": True,
            "packages": [
                {
                    "package": number,
                    "measured_joules_total": None if joules is None else joules - own_j,
                    "measured_seconds_total": seconds,
                    "cores": package.cores,
                }
                for number, package in packages.items()
                for joules, seconds in [package.measured or (None, 0.0)]
            ],
        }

    def override(self, pcpu: int, khz: int) -> None:
        self._grants.set_khz(pcpu, khz)

    def release(self, pcpu: int) -> None:
        self._grants.set_khz(pcpu, STEPS_KHZ[0])


def main() -> int:
    """Run; print a line of JSON with what was measured and what is true."""
    daemon = Daemon()
    client: Any = daemon
    try:
        static = energy_calibration.measure_static(client, SECONDS)
        steps = energy_calibration.measure_steps(client, SECONDS)
    finally:
        daemon.stop()
    facts = {
        "static": [static[0]["watts"], STATIC_W],
        "steps": [[it["khz"], it["watts"], busy_w(it["khz"])] for it in steps],
    }
    sys.stdout.write(f"FACTS {json.dumps(facts)}\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
