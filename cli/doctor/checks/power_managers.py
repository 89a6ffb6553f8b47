# SPDX-License-Identifier: Apache-2.0
"""Other programs that set frequencies or governors."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, info, warning
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.jobs import Job, Jobs
from cli.doctor.facts.power_managers import (
    THERMALD,
    TUNED,
    TUNED_PPD,
    PowerManagers,
)
from cli.doctor.facts.service import Service
from cli.doctor.facts.writes import is_attribute
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
_HARMLESS = frozenset({TUNED, TUNED_PPD, THERMALD})
"""Those that do not set frequencies by themselves; see their own checks."""
_MAX_TEXT = 100
"""Characters of a line that are shown."""
_TAKEN_GOVERNORS = {"setspeed": USERSPACE, "limits": PERFORMANCE}
"""Governor of a taken clock group, by its mechanism."""


@check(PowerManagers)
def tuned_sets_clocks(power_managers: PowerManagers) -> Iterator[Finding]:
    """TuneD's profile sets frequencies, also of CPUs that come online again."""
    options = [
        f"{key}={value}"
        for key, value in power_managers.tuned_cpu.items()
        if key in _SETTING or is_attribute(key)
    ]
    is_running = bool(power_managers.running_as(TUNED))
    if options and (is_running or power_managers.is_tuned_enabled):
        devices = power_managers.tuned_cpu.get("devices")
        where = f"CPUs {devices}" if devices else "all CPUs"
        when = "" if is_running else " when TuneD starts, at the next boot"
        yield warning(
            f"TuneD profile {power_managers.tuned_profile}",
            f"sets {', '.join(options)} on {where}{when}",
            "create a profile with 'include=' of this one and, in [cpu], 'devices='"
            " without the guests' CPUs: devices=!cpu2,!cpu3",
        )


@check(PowerManagers)
def power_manager_runs(power_managers: PowerManagers) -> Iterator[Finding]:
    """Another power manager is running, and writes frequencies or governors."""
    for manager in power_managers.running:
        if manager.name not in _HARMLESS:
            stop = f"systemctl disable --now {manager.unit}"
            yield error(
                manager.name,
                f"running as process {manager.pid}, and setting frequencies",
                f"stop it: {stop if manager.unit else f'kill {manager.pid}'}",
            )


@check(PowerManagers)
def tuned_profile_switched(power_managers: PowerManagers) -> Iterator[Finding]:
    """tuned-ppd switches TuneD's profile for desktops and other programs."""
    for manager in power_managers.running_as(TUNED_PPD):
        yield warning(
            manager.name,
            f"running as process {manager.pid}: clients of power-profiles-daemon"
            " switch TuneD's profile through it, which sets governors again",
            f"systemctl disable --now {manager.unit}, or name profiles that set no"
            " governors in /etc/tuned/ppd.conf",
        )


@check(PowerManagers)
def thermal_daemon_runs(power_managers: PowerManagers) -> Iterator[Finding]:
    """Hot CPUs are slowed down by thermald."""
    for manager in power_managers.running_as(THERMALD):
        yield info(
            manager.name,
            f"running as process {manager.pid}: it limits the frequencies of hot"
            " CPUs, also of those that vmpowerd has taken",
        )


@check(Jobs)
def job_sets_clocks(jobs: Jobs) -> Iterator[Finding]:
    """A cron job, a unit, a udev rule or a file for boot sets governors."""
    by_file: dict[str, list[Job]] = {}
    for job in jobs.jobs:
        by_file.setdefault(job.path, []).append(job)
    for path, found in by_file.items():
        first, *more = found
        text = f"'{shorten(first.text, _MAX_TEXT, placeholder='...')}'"
        if more:
            text += f", and in line {', '.join(str(job.line) for job in more)}"
        subject = f"{path}:{first.line}"
        if first.is_early:
            yield info(subject, f"at boot, before vmpowerd starts, {first.by} {text}")
            continue
        yield warning(
            subject,
            f"another program sets governors or frequencies: {first.by} {text}",
            "remove it, or restrict it to CPUs without guests: vmpowerd leaves CPUs as"
            " they are whose settings another program changes",
        )


@check(Jobs)
def jobs_unreadable(jobs: Jobs) -> Iterator[Finding]:
    """Files of jobs that this user may not read: jobs there are not found."""
    for path in jobs.unreadable:
        yield info(
            path,
            "cannot be read, so jobs there that set governors are not found",
            "run 'vmpower doctor' as root",
        )


@check(PowerManagers)
def power_manager_enabled(power_managers: PowerManagers) -> Iterator[Finding]:
    """A service sets frequencies or governors at boot."""
    running = {f"{manager.unit}.service" for manager in power_managers.running}
    for unit in sorted(set(power_managers.units) - running):
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
