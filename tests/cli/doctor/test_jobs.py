# SPDX-License-Identifier: Apache-2.0
"""Cron jobs, units, udev rules and files for boot that set governors."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from cli.doctor.checks.power_managers import job_sets_clocks, jobs_unreadable
from cli.doctor.facts.jobs import Job, Jobs, read_jobs
from cli.doctor.facts.writes import SYSFS, TMPFILES, UDEV, find_writes, lines_of
from cli.doctor.target import Target
from tests.cli.doctor.conftest import examine
from tests.cli.doctor.machines import write

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

SET = "cpupower frequency-set -g performance"
GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
UNITS = "etc/systemd/system"


def jobs(root: Path) -> list[dict[str, Any]]:
    found = examine(root)[1]["findings"]
    assert {item["id"] for item in found} <= {"job-sets-clocks"}
    return list(found)


def enable(root: Path, unit: str, directory: str = "multi-user.target.wants") -> None:
    link = root / UNITS / directory / unit
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/{UNITS}/{unit}")


@pytest.mark.parametrize(
    "text",
    [
        SET,
        "/usr/bin/cpupower -c 0-3 frequency-set -u 2GHz",
        "cpupower --cpu all set -b 0",
        "cpufreq-set -r -g performance",
        "tuned-adm profile throughput-performance",
        "powerprofilesctl set performance",
        "x86_energy_perf_policy performance",
        "/usr/sbin/tlp start",
        "auto-cpufreq --force=performance",
        f"echo performance > {GOVERNOR}",
        f"echo performance >'{GOVERNOR}'",
        f"echo 1 | sudo tee -a {GOVERNOR} >/dev/null",
        "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo",
        "echo passive > /sys/devices/system/cpu/amd_pstate/status",
        "echo 0 | tee /sys/devices/system/cpu/cpufreq/boost",
        f"/bin/sh -c 'for f in {GOVERNOR} x; do echo performance > $f; done'",
        f'G={GOVERNOR}\necho hello > /tmp/log\necho performance > "${{G}}"',
        f"ls {GOVERNOR} | xargs -I{{}} sh -c 'echo performance > {{}}'",
    ],
)
def test_a_line_that_writes_is_found(text: str) -> None:
    lines = lines_of(text)
    assert list(find_writes(lines)) == lines[-1:]


@pytest.mark.parametrize(
    "text",
    [
        f"# {SET}",
        f"cat {GOVERNOR}",
        f"cat {GOVERNOR} > /var/log/governor",
        f"grep -q performance {GOVERNOR} 2>/dev/null",
        f"G=$(cat {GOVERNOR}); echo $G > /tmp/log",
        "cpupower frequency-info",
        "cpupower monitor",
        "cpufreq-info",
        "tuned-adm active",
        "tuned-adm profile_info",
        "powerprofilesctl get",
        "tlp-stat -s",
        "apt install cpufrequtils",
        "echo 1 > /proc/sys/vm/drop_caches",
    ],
)
def test_a_line_that_only_reads_is_not(text: str) -> None:
    assert list(find_writes(lines_of(text))) == []


@pytest.mark.parametrize(
    ("setting", "text", "expected"),
    [
        (UDEV, 'SUBSYSTEM=="cpu", ATTR{cpufreq/scaling_governor}="performance"', 1),
        (UDEV, 'ATTR{cpufreq/scaling_governor}=="performance", RUN+="/bin/x"', 0),
        (UDEV, f'ACTION=="add", RUN+="/bin/sh -c \'echo 1 > {GOVERNOR}\'"', 1),
        (TMPFILES, f"w {GOVERNOR} - - - - performance", 1),
        (TMPFILES, f"w+ {GOVERNOR} - - - - performance", 1),
        (TMPFILES, f"z {GOVERNOR} 0660 root power", 0),
        (SYSFS, "devices/system/cpu/cpu0/cpufreq/scaling_governor = powersave", 1),
        (SYSFS, "mode devices/system/cpu/cpu0/cpufreq/scaling_governor = 0660", 0),
    ],
)
def test_settings_of_files_have_a_syntax_of_their_own(
    setting: re.Pattern[str], text: str, expected: int
) -> None:
    assert len(list(find_writes(lines_of(text), setting))) == expected


@pytest.mark.parametrize(
    "path",
    [
        "etc/crontab",
        "etc/cron.d/power",
        "etc/cron.hourly/power",
        "var/spool/cron/root",
        "var/spool/cron/crontabs/root",
    ],
)
def test_a_cron_job_is_reported_with_its_file_and_line(
    healthy: Path, path: str
) -> None:
    write(healthy, {path: f"# power\nPATH=/bin\n*/5 * * * * {SET}"})
    (finding,) = jobs(healthy)
    assert (finding["subject"], finding["severity"]) == (f"/{path}:3", "warning")
    assert finding["what"] == (
        f"another program sets governors or frequencies: cron runs '*/5 * * * * {SET}'"
    )
    assert "remove it" in finding["fix"]


def test_the_lines_of_a_file_are_one_finding(healthy: Path) -> None:
    write(healthy, {"etc/cron.d/power": f"@reboot root {SET}\n\n@daily root {SET}"})
    (finding,) = jobs(healthy)
    assert finding["subject"] == "/etc/cron.d/power:1"
    assert finding["what"].endswith("', and in line 3")


def test_a_script_that_a_job_runs_is_searched(healthy: Path) -> None:
    script = "usr/local/sbin/governors.sh"
    write(
        healthy,
        {
            "etc/cron.d/power": f"@reboot root /{script} performance",
            script: f"#!/bin/sh\nset -e\necho $1 > {GOVERNOR}",
        },
    )
    (finding,) = jobs(healthy)
    assert finding["subject"] == f"/{script}:3"
    assert "cron runs this script (/etc/cron.d/power:1)" in finding["what"]
    write(healthy, {script: f"\x7fELF echo > {GOVERNOR}"})
    assert jobs(healthy) == []


def test_an_enabled_unit_is_reported_with_the_line_of_its_command(
    healthy: Path,
) -> None:
    write(
        healthy,
        {
            f"{UNITS}/governors.service": "[Unit]\nDescription=cpupower set\n"
            f"[Service]\nExecStart=/bin/sh -c \\\n  '{SET}'"
        },
    )
    assert jobs(healthy) == []
    enable(healthy, "governors.service")
    (finding,) = jobs(healthy)
    assert finding["subject"] == f"/{UNITS}/governors.service:5"
    assert "governors.service runs" in finding["what"]


@pytest.mark.parametrize(
    ("timer", "unit"),
    [("[Timer]\nOnCalendar=daily", "night"), ("[Timer]\nUnit=set.service", "set")],
)
def test_a_timer_starts_a_unit(healthy: Path, timer: str, unit: str) -> None:
    write(
        healthy,
        {
            f"{UNITS}/night.timer": timer,
            f"usr/lib/systemd/system/{unit}.service": f"[Service]\nExecStart={SET}",
        },
    )
    assert jobs(healthy) == []
    enable(healthy, "night.timer", "timers.target.wants")
    (finding,) = jobs(healthy)
    assert finding["subject"] == f"/usr/lib/systemd/system/{unit}.service:2"
    assert "night.timer runs" in finding["what"]


def test_drop_ins_and_templates_belong_to_a_unit(healthy: Path) -> None:
    write(
        healthy,
        {
            f"{UNITS}/governor@.service": "[Service]\nExecStart=/bin/true",
            f"{UNITS}/governor@.service.d/x.conf": f"[Service]\nExecStartPre={SET}",
        },
    )
    enable(healthy, "governor@performance.service")
    (finding,) = jobs(healthy)
    assert finding["subject"] == f"/{UNITS}/governor@.service.d/x.conf:2"


def test_a_linked_unit_is_that_of_the_copy(healthy: Path) -> None:
    write(healthy, {"opt/set.service": f"[Service]\nExecStart={SET}"})
    (healthy / UNITS).mkdir(parents=True)
    (healthy / UNITS / "set.service").symlink_to("/opt/set.service")
    enable(healthy, "set.service")
    (finding,) = jobs(healthy)
    assert finding["subject"] == "/opt/set.service:2"


def test_a_masked_unit_or_timer_does_not_run(healthy: Path) -> None:
    vendor = "usr/lib/systemd/system"
    write(
        healthy,
        {
            f"{vendor}/{name}.service": f"[Service]\nExecStart={SET}"
            for name in ("once", "night")
        },
    )
    for unit, directory in (("once.service", "a.wants"), ("night.timer", "b.requires")):
        enable(healthy, unit, directory)
        (healthy / UNITS / unit).symlink_to("/dev/null")
    assert jobs(healthy) == []


def test_a_udev_rule_is_reported_unless_another_file_hides_it(healthy: Path) -> None:
    rule = 'SUBSYSTEM=="cpu", ACTION=="add", ATTR{cpufreq/scaling_governor}="powersave"'
    write(healthy, {"usr/lib/udev/rules.d/50-power.rules": rule})
    (finding,) = jobs(healthy)
    assert finding["subject"] == "/usr/lib/udev/rules.d/50-power.rules:1"
    assert "udev sets" in finding["what"]
    write(healthy, {"etc/udev/rules.d/50-power.rules": ""})
    assert jobs(healthy) == []


@pytest.mark.parametrize(
    ("path", "text", "severity"),
    [
        ("etc/tmpfiles.d/power.conf", f"w {GOVERNOR} - - - - powersave", "info"),
        ("etc/sysfs.conf", f"{GOVERNOR[5:]} = powersave", "info"),
        ("etc/rc.local", f"#!/bin/sh\n{SET}", "warning"),
    ],
)
def test_what_sets_governors_before_the_daemon_starts_is_information(
    healthy: Path, path: str, text: str, severity: str
) -> None:
    write(healthy, {path: text})
    (finding,) = jobs(healthy)
    assert finding["severity"] == severity
    assert finding["subject"].startswith(f"/{path}:")


def test_a_long_line_is_shortened() -> None:
    job = Job(path="/x", line=1, text="word " * 100 + SET, by="cron runs")
    (finding,) = job_sets_clocks(Jobs(jobs=(job,), unreadable=()))
    assert len(finding.what) < 200
    assert finding.what.endswith("...'")


@contextmanager
def without_privileges() -> Iterator[None]:
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_what_this_user_may_not_read_is_collected() -> None:
    with TemporaryDirectory() as name:  # pytest's directories are for root only
        root = Path(name)
        root.chmod(0o755)
        write(root, {"etc/cron.d/power": SET, "var/spool/cron/crontabs/root": SET})
        (root / "etc/cron.d/power").chmod(0)
        (root / "var/spool/cron/crontabs").chmod(0)
        with without_privileges():
            found = read_jobs(Target(root=root), ())
        assert set(found.unreadable) == {
            "/etc/cron.d/power",
            "/var/spool/cron/crontabs",
        }
        assert found.jobs == ()
        (root / "var/spool/cron/crontabs").chmod(0o700)


def test_jobs_that_only_root_may_read_are_named() -> None:
    jobs = Jobs(jobs=(), unreadable=("/var/spool/cron/crontabs",))
    (finding,) = jobs_unreadable(jobs)
    assert finding.subject == "/var/spool/cron/crontabs"
    assert "as root" in finding.fix
