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
from orchestrator.limits import Limits
from orchestrator.monitor.client.records import Records
from orchestrator.monitor.link.commands import DefineGroup, HandOver
from orchestrator.monitor.link.table import SharedTable, create_table
from orchestrator.performer.energy_sampler import EnergyJob, EnergySampler
from orchestrator.performer.grant_reader import GrantReader
from orchestrator.power.sysfs import CpuTree
from orchestrator.values.domain import DomainId
from orchestrator.values.frequencies import table_from
from tests.monitor.in_process_monitor import InProcessMonitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.performer.energy_sampler import EnergyResult, GroupGrant

LEARNING, JUDGED = 80, 120
"""Samples, of a second each."""
CHANGING = 1.0
"""Probability that a domain's frequency changes in a second."""
STEPS_KHZ = tuple(range(800_000, 3_600_001, 400_000))
HOST_KHZ = 2_000_000
"""Of the CPUs without a domain: about the mean, which is assumed of the host's work.
This program is much of that if the machine is busy."""
STATIC_W = 10.0
"""As the imitated registers have it."""
DOMAINS = {DomainId("fw"): 1, DomainId("nat"): 2}
"""The CPU of each domain's only vCPU."""
OWN_CPU = 0
"""Of this program."""
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


def cpufreq_file(cpu: int, name: str) -> Path:
    return CPUS / f"cpu{cpu}/cpufreq/{name}"


def prepare_cpus() -> None:
    """Let nothing but this program set frequencies."""
    os.sched_setaffinity(0, {OWN_CPU})
    for cpu in range(4):
        cpufreq_file(cpu, "scaling_governor").write_text("userspace")
        khz = STEPS_KHZ[0] if cpu in DOMAINS.values() else HOST_KHZ
        cpufreq_file(cpu, "scaling_setspeed").write_text(str(khz))


class Grants:
    """The frequencies of the domains' CPUs: the monitor sets them and keeps the times.

    An override of the operator takes the place of guests' requests.
    """

    cpus = tuple(DOMAINS.values())

    def __init__(self) -> None:
        fd = create_table()
        self.records = Records(SharedTable(fd))
        self._monitor = InProcessMonitor(Path("/tmp"), table_fd=fd)
        self._reader = GrantReader(self.records)
        for cpu in self.cpus:
            self.set_khz(cpu, STEPS_KHZ[0])
            file = os.open(cpufreq_file(cpu, "scaling_setspeed"), os.O_RDWR)
            self._monitor.apply(
                HandOver(cpu, is_taken=True, writer="setspeed"), (file,)
            )

    def set_khz(self, cpu: int, khz: int) -> None:
        self._monitor.now_ns = time.monotonic_ns()
        command = DefineGroup(
            cpu, table_from(STEPS_KHZ), Limits(0, STEPS_KHZ[-1]), override_khz=khz
        )
        complete = self.records.record(command)
        assert complete is not None
        self._monitor.apply(complete)

    def read(self) -> Mapping[int, GroupGrant]:
        return self._reader.read(self.cpus)


class Truth(NamedTuple):
    """What was drawn since the lab was booted, and saved since it began."""

    at_s: float
    package_j: float
    drawn: dict[DomainId, Drawn]
    saved_j: float


class Host:
    """The lab, with a domain on CPU 1 and one on CPU 2."""

    def __init__(self) -> None:
        prepare_cpus()
        self.grants = Grants()
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
        self.saved_j = 0.0
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
                groups=tuple(range(4)),
                grants=self.grants.read(),
                grants_ns=time.monotonic_ns(),
                votes_khz={},
            )
        )

    def true(self) -> Truth:
        self._count_saved()
        return Truth(
            time.monotonic(),
            drawn_j(0, "package_nj"),
            {
                uuid: Drawn(
                    drawn_j(cpu, "busy_nj"),
                    vcpu_run_ns(self.pids[str(uuid)]),
                    tasks_run_ns(cpu),
                )
                for uuid, cpu in DOMAINS.items()
            },
            self.saved_j,
        )

    def _count_saved(self) -> None:
        now_s = time.monotonic()
        for khz in self.khz.values():
            less_w = busy_w(STEPS_KHZ[-1]) - busy_w(khz)
            self.saved_j += less_w * (now_s - self._since_s)
        self._since_s = now_s

    def pass_second(self) -> None:
        """Change frequencies at any time within it."""
        began_s = time.monotonic()
        changes = sorted((self._random.random(), cpu) for cpu in self.khz)
        for moment_s, cpu in changes:
            time.sleep(max(0.0, began_s + moment_s - time.monotonic()))
            if self._random.random() < CHANGING:
                self._count_saved()
                self.khz[cpu] = self._random.choice(STEPS_KHZ)
                self.grants.set_khz(cpu, self.khz[cpu])
        time.sleep(max(0.0, began_s + 1 - time.monotonic()))
        self._count_saved()


def main() -> int:
    """Run; print a line of JSON with what was accounted and what is true."""
    host = Host()
    host.sample(host.plan())
    for _ in range(LEARNING):
        host.pass_second()
        host.sample()
    before = host.true()
    results = []
    for _ in range(JUDGED):
        host.pass_second()
        if result := host.sample():
            results.append(result)
    after = host.true()
    total = combine(result.interval for result in results)
    # On a busy machine, they are not read at the same moment as the last sample.
    scale = total.duration_s / (after.at_s - before.at_s)
    facts = {
        "source": str(total.host.source),
        "hole": total.host.hole,
        "problems": sorted({result.problem for result in results}),
        "measured": [
            total.host.measured_joules,
            scale * (after.package_j - before.package_j),
        ],
        "parts": total.host.static_joules
        + total.host.idle_joules
        + total.host.host_joules
        + sum(it.joules for it in total.domains.values()),
        "counted": after.package_j,
        "drawn": {
            uuid: [
                total.domains[uuid].joules,
                scale * after.drawn[uuid].since(before.drawn[uuid]),
                sum(total.domains[uuid].residency.values()),
            ]
            for uuid in DOMAINS
        },
        "saved": [
            total.host.saved_joules,
            total.host.saved_error_joules,
            scale * (after.saved_j - before.saved_j),
        ],
        "curve": results[-1].state.packages[0].curves[Activity.POLL].watts,
        "sampled_s": [total.duration_s, after.at_s - before.at_s],
    }
    sys.stdout.write(f"FACTS {json.dumps(facts)}\n")
    sys.stdout.flush()
    for pid in host.pids.values():
        os.kill(pid, 9)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
