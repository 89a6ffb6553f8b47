# SPDX-License-Identifier: Apache-2.0
"""Accounts energy with Linux's powercap, beside what was really drawn.

Runs in the lab `RAPL`: ``python3 -m tests.performer.energy_on_linux``. Its energy
counter grows with the frequencies that Linux's own driver has set, and wraps about once
a minute; what each CPU drew is known from the imitated registers. Two processes take
the place of QEMU, each with a thread that polls on a CPU of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.attribution import Calibration, Package
from orchestrator.energy.calibration import write_calibration
from orchestrator.energy.observer import DomainPlan, HostPlan, VCpuPlan
from orchestrator.energy.profiles import find_model_name
from orchestrator.energy.residency import Activity, combine
from orchestrator.performer.energy_sampler import EnergyJob, EnergySampler
from orchestrator.power.sysfs import CpuTree
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from orchestrator.performer.energy_sampler import EnergyResult

LEARNING, JUDGED = 80, 120
"""Samples, of a second each."""
STEPS_KHZ = tuple(range(800_000, 3_600_001, 400_000))
STATIC_W = 10.0
"""As the imitated registers have it."""
DOMAINS = {DomainId("fw"): 1, DomainId("nat"): 2}
"""The CPU of each domain's only vCPU."""
CPUS = Path("/sys/devices/system/cpu")
REGISTERS = Path("/sys/kernel/debug/imitated_msr")
POLL = """
import os, sys, threading
def poll():
    os.sched_setaffinity(0, {int(sys.argv[1])})
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
        file.write("CPU 0/KVM")
    while True:
        pass
threading.Thread(target=poll).start()
"""


def busy_w(khz: int) -> float:
    """Return what a busy core draws, as the imitated registers have it."""
    return 0.3 + (khz / 1e6) ** 2


def drawn_j(cpu: int, name: str) -> float:
    lines = (REGISTERS / f"cpu{cpu}").read_text().splitlines()
    return int(dict(map(str.split, lines))[name]) / 1e9


def vcpu_run_ns(pid: int) -> int:
    """Return for how long the only vCPU of a process has run."""
    (task,) = (
        task
        for task in Path(f"/proc/{pid}/task").iterdir()
        if (task / "comm").read_text().startswith("CPU ")
    )
    return int((task / "schedstat").read_text().split()[0])


def tasks_run_ns(cpu: int) -> int:
    """Return for how long tasks have run on a CPU, by the clock of the scheduler."""
    lines = Path("/proc/schedstat").read_text().splitlines()
    (line,) = (it for it in lines if it.startswith(f"cpu{cpu} "))
    return int(line.split()[7])


class Drawn(NamedTuple):
    """What a CPU has drawn while it was busy, and how its time was shared."""

    joules: float
    vcpu_ns: int
    tasks_ns: int

    def since(self, before: Drawn) -> float:
        """Return the joules of the vCPU: the kernel has threads on its CPU, too."""
        share = (self.vcpu_ns - before.vcpu_ns) / (self.tasks_ns - before.tasks_ns)
        return share * (self.joules - before.joules)


def set_khz(cpu: int, khz: int) -> None:
    (CPUS / f"cpu{cpu}/cpufreq/scaling_setspeed").write_text(str(khz))


class Host:
    """The lab, with a domain on CPU 1 and one on CPU 2."""

    def __init__(self) -> None:
        os.sched_setaffinity(0, {0})
        for cpu in range(4):
            (CPUS / f"cpu{cpu}/cpufreq/scaling_governor").write_text("userspace")
            set_khz(cpu, STEPS_KHZ[0])
        self.khz = dict.fromkeys(DOMAINS.values(), STEPS_KHZ[0])
        self.pids = {
            str(uuid): subprocess.Popen([sys.executable, "-c", POLL, str(cpu)]).pid
            for uuid, cpu in DOMAINS.items()
        }
        file = Path("/tmp/energy.json")
        model = find_model_name(Path("/proc/cpuinfo").read_text())
        file.write_bytes(write_calibration(Calibration(static_w={0: STATIC_W}), model))
        self.sampler = EnergySampler(CpuTree(Path("/sys")), self.pids.get)
        self.sampler.load(file)
        self._random = random.Random(5)
        self.saved_j = dict.fromkeys(DOMAINS, 0.0)
        self._since_s = time.monotonic()

    def plan(self) -> HostPlan:
        package = Package(
            number=0, cores=4, groups=frozenset(range(4)), steps_khz=STEPS_KHZ
        )
        return HostPlan(
            packages={0: package},
            domains={
                uuid: DomainPlan(
                    vcpus={0: VCpuPlan(cpu, (cpu,), cpu, STEPS_KHZ[-1])},
                    is_enforced=True,
                    other_groups=(0,),
                )
                for uuid, cpu in DOMAINS.items()
            },
            cpus=4,
        )

    def sample(self, plan: HostPlan | None = None) -> EnergyResult | None:
        return self.sampler.sample(
            EnergyJob(
                plan=plan,
                names={uuid: str(uuid) for uuid in DOMAINS},
                pcpu_packages=dict.fromkeys(range(4), 0),
                grants={cpu: self.khz.get(cpu) for cpu in range(4)},
                votes_khz={},
            )
        )

    def drawn(self) -> dict[DomainId, Drawn]:
        return {
            uuid: Drawn(
                drawn_j(cpu, "busy_nj"),
                vcpu_run_ns(self.pids[str(uuid)]),
                tasks_run_ns(cpu),
            )
            for uuid, cpu in DOMAINS.items()
        }

    def _count_saved(self) -> None:
        now_s = time.monotonic()
        for uuid, cpu in DOMAINS.items():
            less_w = busy_w(STEPS_KHZ[-1]) - busy_w(self.khz[cpu])
            self.saved_j[uuid] += less_w * (now_s - self._since_s)
        self._since_s = now_s

    def pass_second(self, changing: float) -> None:
        """Change frequencies at any time within it, with a probability."""
        moment_s = self._random.random()
        time.sleep(moment_s)
        self._count_saved()
        for cpu in self.khz:
            if self._random.random() < changing:
                self.khz[cpu] = self._random.choice(STEPS_KHZ)
                set_khz(cpu, self.khz[cpu])
        time.sleep(1 - moment_s)
        self._count_saved()


def main() -> int:
    """Run; print a line of JSON with what was accounted and what is true."""
    host = Host()
    host.sample(host.plan())
    for _ in range(LEARNING):
        host.pass_second(changing=0.2)
        host.sample()
    before = host.drawn()
    package_before, saved_before = drawn_j(0, "package_nj"), dict(host.saved_j)
    results = []
    for _ in range(JUDGED):
        # Grants are read once a second: few changes, or it takes long to even out.
        host.pass_second(changing=0.06)
        if result := host.sample():
            results.append(result)
    after = host.drawn()
    total = combine(result.interval for result in results)
    facts = {
        "source": str(total.host.source),
        "hole": total.host.hole,
        "problems": sorted({result.problem for result in results}),
        "measured": [
            total.host.measured_joules,
            drawn_j(0, "package_nj") - package_before,
        ],
        "parts": total.host.static_joules
        + total.host.idle_joules
        + total.host.host_joules
        + sum(it.joules for it in total.domains.values()),
        "counted": drawn_j(0, "package_nj"),
        "drawn": {
            uuid: [
                total.domains[uuid].joules,
                after[uuid].since(before[uuid]),
                after[uuid].joules - before[uuid].joules,
            ]
            for uuid in DOMAINS
        },
        "saved": [
            total.host.saved_joules,
            total.host.saved_error_joules,
            sum(host.saved_j[uuid] - saved_before[uuid] for uuid in DOMAINS),
        ],
        "curve": results[-1].state.packages[0].curves[Activity.POLL].watts,
        "sampled_s": total.duration_s,
    }
    sys.stdout.write(f"FACTS {json.dumps(facts)}\n")
    sys.stdout.flush()
    for pid in host.pids.values():
        os.kill(pid, 9)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
