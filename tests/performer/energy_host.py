# SPDX-License-Identifier: Apache-2.0
"""A host whose energy is accounted: files of /sys and /proc that a test moves on.

The controller, the accounting and its readers are real; meters, run times and
frequencies are plain files, and time is set by the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config import Config
from orchestrator.controller import energy as energy_plans
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.energy.grants import GrantTimes
from orchestrator.monitor.client.views import Grant
from orchestrator.performer.energy_sampler import EnergyJob, EnergySampler, GroupGrant
from orchestrator.power.sysfs import CpuTree, policy_path
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain, topology, vcpu

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.performer.energy_sampler import EnergyResult
    from orchestrator.values.domain import DomainId

HIGHEST_KHZ, LOWEST_KHZ = 3_001_000, 1_200_000
RANGE_UJ = 262_143_328_850
CPUINFO = """\
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 106
model name\t: Imitated Xeon
stepping\t: 6
"""


class EnergyHost:
    """Domains of four vCPUs each on CPUs of their own, all taken."""

    def __init__(
        self,
        root: Path,
        *,
        domains: int = 2,
        free_cpus: int = 4,
        has_meter: bool = True,
        config: Config | None = None,
    ) -> None:
        self.root = root
        self.cpus = 4 * domains + free_cpus
        self.host = SimulatedHost(
            config=config or Config(), topology=topology(self.cpus)
        )
        self.now_s = 100.0
        self.grants: dict[int, int] = {}
        self.writes = 1
        self.votes: dict[tuple[DomainId, int], int] = {}
        self.energy_uj = 1_000_000
        self._ran_ns: dict[tuple[int, int], int] = {}
        self._idle_s = 0.0
        self.names = [f"vm-{number}" for number in range(domains)]
        for number, name in enumerate(self.names):
            spec = domain(
                name, vcpus=tuple(vcpu(at, 4 * number + at) for at in range(4))
            )
            self.host.domains[spec.uuid] = spec
            self._lay_out_process(number)
        self.host.start()
        self.host.settle()
        for number, record in self.host.inventory.groups.items():
            if number < 4 * domains:
                record.stage = GroupStage.TAKEN
                self.grants[number] = HIGHEST_KHZ
            self._write(policy_path(number, "scaling_cur_freq"), HIGHEST_KHZ)
        if has_meter:
            self.lay_out_zone("intel-rapl:0", "package-0")
        (root / "proc").mkdir(exist_ok=True)
        (root / "proc/cpuinfo").write_text(CPUINFO)
        self._publish()

    @property
    def uuids(self) -> list[DomainId]:
        return list(self.host.domains)

    def sampler(self) -> EnergySampler:
        return EnergySampler(
            CpuTree(self.root / "sys"),
            self.find_qemu,
            proc=self.root / "proc",
            clock=lambda: self.now_s,
        )

    def find_qemu(self, name: str) -> int | None:
        return 1_000 * (1 + self.names.index(name))

    # What the monitor knows

    def grant_of(self, group: int) -> Grant:
        return Grant(self.grants.get(group), self.writes)

    def grant_times(self, group: int) -> GrantTimes:  # noqa: ARG002
        return GrantTimes(0, (LOWEST_KHZ, HIGHEST_KHZ), 0, (0, self.writes))

    def observed_votes(self) -> dict[tuple[DomainId, int], int]:
        return self.votes

    # Time

    def pass_time(
        self, watts: float = 60.0, *, load: float = 1.0, seconds: float = 1.0
    ) -> None:
        """Let vCPUs run at a load, and the package draw some power."""
        self.now_s += seconds
        self.energy_uj = round(self.energy_uj + watts * seconds * 1e6) % RANGE_UJ
        for key in self._ran_ns:
            self._ran_ns[key] += round(load * seconds * 1e9)
        self._idle_s += seconds * (self.cpus - load * len(self._ran_ns))
        self._publish()

    def set_grants(self, khz: int) -> None:
        self.grants = dict.fromkeys(self.grants, khz)

    def set_measured(self, group: int, khz: int) -> None:
        self._write(policy_path(group, "scaling_cur_freq"), khz)

    def job(self, *, has_plan: bool = True) -> EnergyJob:
        inventory = self.host.inventory
        return EnergyJob(
            plan=energy_plans.build_plan(inventory) if has_plan else None,
            names={u: it.name for u, it in self.host.domains.items()},
            pcpu_packages=dict.fromkeys(range(self.cpus), 0),
            groups=tuple(inventory.groups),
            grants={
                number: GroupGrant(khz, None) for number, khz in self.grants.items()
            },
            grants_ns=round(self.now_s * 1e9),
            votes_khz=self.votes,
        )

    def sample(self, sampler: EnergySampler, *, watts: float = 60.0) -> EnergyResult:
        """Return what happened in a second."""
        self.pass_time(watts)
        found = sampler.sample(self.job(has_plan=False))
        assert found is not None
        return found

    # Files

    def lay_out_zone(self, directory: str, name: str, range_uj: int = RANGE_UJ) -> Path:
        zone = self.root / "sys/class/powercap" / directory
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (zone / "energy_uj").write_text(f"{self.energy_uj}\n")
        return zone

    def _lay_out_process(self, number: int) -> None:
        pid = 1_000 * (1 + number)
        for thread in range(6):
            tid = pid + thread
            task = self.root / f"proc/{pid}/task/{tid}"
            task.mkdir(parents=True)
            name = f"CPU {thread - 1}/KVM" if 1 <= thread <= 4 else "qemu-kvm"
            (task / "comm").write_text(f"{name}\n")
            if 1 <= thread <= 4:
                self._ran_ns[pid, tid] = 5_000_000_000

    def _publish(self) -> None:
        totals: dict[int, int] = {}
        for (pid, tid), ran_ns in self._ran_ns.items():
            path = self.root / f"proc/{pid}/task/{tid}/schedstat"
            path.write_text(f"{ran_ns} 12345 678\n")
            totals[pid] = totals.get(pid, 0) + ran_ns
        for pid, total_ns in totals.items():
            ticks = total_ns // 10_000_000
            stat = f"{pid} (qemu-kvm (x) y) S {' '.join('1' * 10)} {ticks} 100 0 0\n"
            (self.root / f"proc/{pid}/stat").write_text(stat)
        (self.root / "proc/uptime").write_text(f"{self.now_s:.2f} {self._idle_s:.2f}\n")
        zone = self.root / "sys/class/powercap/intel-rapl:0/energy_uj"
        if zone.parent.is_dir():
            zone.write_text(f"{self.energy_uj}\n")

    def _write(self, relative: str, value: int) -> None:
        path = self.root / "sys" / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
