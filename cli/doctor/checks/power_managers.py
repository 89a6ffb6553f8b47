# SPDX-License-Identifier: Apache-2.0
"""Other programs that set frequencies or governors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, warning
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.power_managers import PowerManagers
from cli.doctor.facts.service import Service
from cli.doctor.target import Target
from orchestrator.power.mechanisms.limits import PERFORMANCE
from orchestrator.power.mechanisms.setspeed import USERSPACE
from orchestrator.values.cpuset import format_cpulist, name_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

_SETTING = (
    "governor",
    "energy_perf_bias",
    "energy_performance_preference",
    "min_perf_pct",
    "max_perf_pct",
    "no_turbo",
)
"""Options in TuneD's [cpu] that set frequencies; `force_latency` sets C-states."""
_TUNED = "TuneD"
_TAKEN_GOVERNORS = {"setspeed": USERSPACE, "limits": PERFORMANCE}
"""Governor of a taken clock group, by its mechanism."""


@check(PowerManagers)
def tuned_sets_clocks(power_managers: PowerManagers) -> Iterator[Finding]:
    """TuneD's profile sets frequencies, also of CPUs that come online again."""
    options = [
        f"{key}={power_managers.tuned_cpu[key]}"
        for key in _SETTING
        if key in power_managers.tuned_cpu
    ]
    if options and any(manager.name == _TUNED for manager in power_managers.running):
        devices = power_managers.tuned_cpu.get("devices")
        where = f"CPUs {devices}" if devices else "all CPUs"
        yield warning(
            f"TuneD profile {power_managers.tuned_profile}",
            f"sets {', '.join(options)} on {where}",
            "create a profile with 'include=' of this one and, in [cpu], 'devices='"
            " without the guests' CPUs: devices=!cpu2,!cpu3",
        )


@check(PowerManagers)
def power_manager_runs(power_managers: PowerManagers) -> Iterator[Finding]:
    """Another power manager is running, and writes frequencies or governors."""
    for manager in power_managers.running:
        if manager.name != _TUNED:
            stop = f"systemctl disable --now {manager.unit}"
            yield error(
                manager.name,
                f"running as process {manager.pid}, and setting frequencies",
                f"stop it: {stop if manager.unit else f'kill {manager.pid}'}",
            )


@check(PowerManagers)
def power_manager_enabled(power_managers: PowerManagers) -> Iterator[Finding]:
    """A service sets frequencies or governors at boot."""
    for unit in power_managers.units:
        yield warning(
            unit,
            "enabled: it sets governors or frequencies at boot",
            f"systemctl disable {unit}, or order it before vmpowerd.service",
        )


@check(PowerManagers, Target, Service)
def claimed_elsewhere(
    power_managers: PowerManagers, target: Target, service: Service
) -> Iterator[Finding]:
    """The CPUs are controlled by another daemon than that of the run directory."""
    if (
        power_managers.holder is not None
        and service.owner_pid != power_managers.holder.pid
    ):
        yield error(
            str(target.cpu_root),
            f"controlled by {power_managers.holder}, which is not the daemon of"
            f" {service.run_dir}",
            "use its run directory with --run-dir, or stop it",
        )


@check(Status)
def governor_replaced(status: Status) -> Iterator[Finding]:
    """Another program changed the governor of CPUs that the daemon has taken."""
    by_governor: dict[str, set[int]] = {}
    for cpu in status.document["cpus"]:
        # Absent from the documents of a daemon that was not restarted after an upgrade.
        taken_with = _TAKEN_GOVERNORS[cpu.get("mechanism", "setspeed")]
        if cpu["claimed"] and cpu["governor"] not in (None, taken_with):
            by_governor.setdefault(str(cpu["governor"]), set()).add(cpu["pcpu"])
    for governor, cpus in by_governor.items():
        yield warning(
            name_cpus(cpus),
            f"taken by vmpowerd, but another program has since set the governor"
            f" '{governor}': frequencies cannot be set",
            "stop what sets governors (TuneD, a script), then: vmpower cpu retake"
            f" {format_cpulist(cpus)}",
        )


@check(Service, PowerManagers)
def journal_left_behind(
    service: Service, power_managers: PowerManagers
) -> Iterator[Finding]:
    """A daemon crashed and its CPUs are not restored."""
    for journal in service.journals:
        if journal.originals and power_managers.holder is None:
            yield error(
                str(journal.path),
                f"a daemon exited without restoring {journal.originals}",
                "vmpower restore (a daemon that starts does the same)",
            )
        elif journal.problem and not journal.is_hidden:
            yield warning(
                str(journal.path),
                journal.problem,
                "not needed: the next vmpowerd sets it aside; there is nothing to"
                " restore",
            )
