"""Others who set clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.rivals import Rivals
from cli.doctor.facts.service import Service
from cli.doctor.finding import error, warning
from cli.doctor.places import Places
from orchestrator.power.drivers.acpi_cpufreq import USERSPACE
from orchestrator.values.cpuset import name_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.finding import Finding

_SETTING = (
    "governor",
    "energy_perf_bias",
    "energy_performance_preference",
    "min_perf_pct",
    "max_perf_pct",
    "no_turbo",
)
"""Options of TuneD's [cpu] that set clocks; `force_latency` is about idling."""
_TUNED = "TuneD"


@check(Rivals)
def tuned_sets_clocks(rivals: Rivals) -> Iterator[Finding]:
    """TuneD's profile sets clocks, of CPUs that come back from offline too."""
    said = [
        f"{key}={rivals.tuned_cpu[key]}" for key in _SETTING if key in rivals.tuned_cpu
    ]
    if said and any(rival.name == _TUNED for rival in rivals.running):
        devices = rivals.tuned_cpu.get("devices")
        where = f"CPUs {devices}" if devices else "all CPUs"
        yield warning(
            f"TuneD profile {rivals.tuned_profile}",
            f"it sets {', '.join(said)} on {where}",
            "make a profile with 'include=' of this one and, in [cpu], 'devices=' that"
            " leaves out the guests' CPUs: devices=!cpu2,!cpu3",
        )


@check(Rivals)
def power_manager_runs(rivals: Rivals) -> Iterator[Finding]:
    """Another power manager runs and writes clocks or governors when it likes."""
    for rival in rivals.running:
        if rival.name != _TUNED:
            yield error(
                rival.name,
                f"it runs (process {rival.pid}) and sets clocks by itself",
                f"stop it: 'systemctl disable --now {rival.name}', or end the process",
            )


@check(Rivals)
def power_manager_enabled(rivals: Rivals) -> Iterator[Finding]:
    """Something sets clocks at every boot."""
    for unit in rivals.units:
        yield warning(
            unit,
            "it is enabled and sets governors or clocks once at boot",
            f"systemctl disable {unit}, or order it before vmpowerd.service",
        )


@check(Rivals, Places, Service)
def claimed_elsewhere(
    rivals: Rivals, places: Places, service: Service
) -> Iterator[Finding]:
    """Another vmpowerd than that of the run directory holds the CPU tree."""
    if rivals.holder is not None and service.owner_pid != rivals.holder.pid:
        yield error(
            str(places.cpu_root),
            f"{rivals.holder} holds its clocks, and is not the daemon of"
            f" {service.run_dir}",
            "name its directory with --run-dir, or stop it",
        )


@check(Status)
def governor_replaced(status: Status) -> Iterator[Finding]:
    """Somebody gave CPUs another governor while the daemon held their clocks."""
    by_governor: dict[str, set[int]] = {}
    for cpu in status.document["cpus"]:
        if cpu["claimed"] and cpu["governor"] not in (None, USERSPACE):
            by_governor.setdefault(str(cpu["governor"]), set()).add(cpu["pcpu"])
    for governor, cpus in by_governor.items():
        yield warning(
            name_cpus(cpus),
            f"vmpowerd holds the clock, and somebody has set the governor '{governor}'"
            " since: the kernel takes no clock",
            "end what sets governors (TuneD, a script), then: systemctl restart"
            " vmpowerd",
        )


@check(Service, Rivals)
def journal_left_behind(service: Service, rivals: Rivals) -> Iterator[Finding]:
    """A daemon died and its CPUs are not restored."""
    if service.journalled and rivals.holder is None:
        groups = ", ".join(map(str, service.journalled))
        yield error(
            str(service.journal),
            f"a daemon ended without giving back clock groups {groups}",
            "vmpower restore (a daemon that starts does it too)",
        )
    elif service.journal_problem and not service.is_journal_hidden:
        yield warning(
            str(service.journal),
            service.journal_problem,
            "the next vmpowerd sets it aside; nothing needs to be written back",
        )
