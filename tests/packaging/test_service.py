# SPDX-License-Identifier: Apache-2.0
"""The service in a booted Debian: systemd, libvirt, Linux's acpi-cpufreq, TuneD.

One boot serves all tests of a release; `service.sh` is what runs there.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packaging.debian_guest import fetch_system, run_in_debian
from tests.packaging.debs import NATIVE, build_debs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.packaging.debian_guest import Outcome

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent
RELEASES = {"trixie": NATIVE, "bookworm": 12}
BOOTS_ALL = os.environ.get("VMPOWER_SERVICE") == "all"
"""Whether everything is done on each release, as by `make test-service`; `make test`
boots one for three minutes."""
FILES = ("fw.xml", "api.py", "clients.py")
WHOLE_DEADLINE_S = 3_000.0
"""Of a run that does everything: the CPUs are emulated, and the machine may be busy."""
READY_WITHIN_S = 900
"""Far above the 2 minutes of a machine whose CPU is not emulated by a busy one."""


@functools.cache
def boot(release: str) -> Mapping[str, str]:
    """Return what each section of the script printed."""
    number = RELEASES[release]
    system = fetch_system(release)
    files = {name: HERE / name for name in FILES}
    for order, version in enumerate(("0.1.0", "0.1.1"), 1):
        for package in build_debs(version, number):
            name = package.name.partition("_")[0]
            files[f"{name}_{order}.deb"] = package
    outcome = run_in_debian(
        system, HERE / "service.sh", files, deadline_s=WHOLE_DEADLINE_S
    )
    return _checked(outcome)


@functools.cache
def boot_quickly() -> Mapping[str, str]:
    """As `boot`, with the first packages installed already, and fewer sections."""
    system = fetch_system("trixie")
    files: dict[str, Path | str] = {name: HERE / name for name in FILES}
    files["quick"] = ""
    packages = build_debs()
    outcome = run_in_debian(system, HERE / "service.sh", files, installed=packages)
    return _checked(outcome)


def boot_bare() -> Mapping[str, str]:
    """Install the package with APT where nothing that it depends on is installed."""
    files = {"vmpower.deb": build_debs().vmpower, "fw.xml": HERE / "fw.xml"}
    system = fetch_system("trixie", bare=True)
    outcome = run_in_debian(
        system, HERE / "bare.sh", files, deadline_s=WHOLE_DEADLINE_S
    )
    return _checked(outcome)


def exposure(text: str) -> float:
    """Return what `systemd-analyze security` printed."""
    (level,) = re.findall(r"exposure level for vmpowerd.service: ([\d.]+)", text)
    return float(level)


def _checked(outcome: Outcome) -> Mapping[str, str]:
    assert "TIMEOUT" not in outcome.output, outcome.output
    return outcome.sections


@pytest.fixture(params=RELEASES)
def ran(request: pytest.FixtureRequest) -> Mapping[str, str]:
    if not BOOTS_ALL:
        pytest.skip("make test-service boots all releases")
    return boot(request.param)


def check_it_starts_at_boot_after_libvirt(ran: Mapping[str, str]) -> None:
    after, libvirt_us, daemon_us, *cpu = ran["boot"].split()
    assert after == "libvirtd.service"
    assert 0 < int(libvirt_us) <= int(daemon_us)
    assert cpu == ["userspace", "1200000"]


def check_the_journal_has_fields(ran: Mapping[str, str]) -> None:
    records = [json.loads(line) for line in ran["journal"].split("\n") if line]
    assert records
    for record in records:
        assert len(record["UUID"]) == 36
        assert record["PRIORITY"] in "346"
    assert "0" in {record.get("CHANNEL") for record in records}
    assert "policy" in {record["VMPOWER_EVENT"] for record in records}


def check_only_cpus_are_writable_in_sys(ran: Mapping[str, str]) -> None:
    assert "writable" not in ran["sandbox"].splitlines()
    mounts = dict(re.findall(r"^(/sys\S*) (r[wo]),", ran["sandbox"], re.MULTILINE))
    assert mounts["/sys/devices/system/cpu"] == "rw"
    assert {mounts[f"/sys/{name}"] for name in ("class", "devices", "kernel")} == {"ro"}
    assert ran["sandbox"].split()[-1] == "vmpower"


def check_a_stop_restores_the_cpus(ran: Mapping[str, str]) -> None:
    assert ran["stop"].split() == ["schedutil", "inactive"]


CHECKS = (
    check_it_starts_at_boot_after_libvirt,
    check_the_journal_has_fields,
    check_only_cpus_are_writable_in_sys,
    check_a_stop_restores_the_cpus,
)
"""Of each boot."""


def test_what_debian_13_boots() -> None:
    # One test: each process that runs a part of it would boot a machine of its own.
    if BOOTS_ALL:
        pytest.skip("the release is booted with its installation")
    ran = boot_quickly()
    for check in CHECKS:
        check(ran)


@pytest.mark.parametrize("check", CHECKS)
def test_what_a_release_boots(
    ran: Mapping[str, str], check: Callable[[Mapping[str, str]], None]
) -> None:
    check(ran)


def test_a_bare_system_serves_a_domain() -> None:
    if not BOOTS_ALL:
        pytest.skip("make test-service runs it")
    served = boot_bare()["served"].split()
    assert "1200000" in served
    assert served[-2] == "served:"
    assert int(served[-1]) < READY_WITHIN_S


def test_from_the_package_to_a_served_domain(ran: Mapping[str, str]) -> None:
    assert "enabled" in ran["install"]
    assert "vmpower 0.1.0" in ran["install"]
    assert "/usr/share/cockpit/vmpower" in ran["install"]
    found = re.search(r"seconds=(\d+)", ran["served"])
    assert found
    assert int(found[1]) < READY_WITHIN_S
    assert ran["served"].split()[-2:] == ["userspace", "1200000"]


def test_clients_cannot_fill_the_log(ran: Mapping[str, str]) -> None:
    clients, logged, suppressed_by_journald = map(int, ran["log"].split())
    assert 0 < logged < clients / 10
    assert suppressed_by_journald == 0


def test_the_control_socket_belongs_to_the_configured_group(
    ran: Mapping[str, str],
) -> None:
    assert ran["group"].split() == ["libvirt", "660"]


def test_a_reload_is_reported(ran: Mapping[str, str]) -> None:
    assert "log_level" in ran["reload"]


def test_decisions_outlive_a_restart(ran: Mapping[str, str]) -> None:
    assert "restarted" in ran["restart"]
    assert '"workload low"' in ran["restart"]


def test_it_is_started_again_after_a_kill(ran: Mapping[str, str]) -> None:
    assert ran["kill"].split()[-2:] == ["1", "served"]


def test_the_watchdog_is_fed_only_while_both_processes_run(
    ran: Mapping[str, str],
) -> None:
    lines = [line for line in ran["watchdog"].splitlines() if line]
    assert lines == [
        *("monitor replaced", "main hangs", "served", "monitors hang", "served"),
    ]


def test_an_upgrade_restarts_it_and_keeps_decisions(ran: Mapping[str, str]) -> None:
    assert "restarted" in ran["upgrade"]
    assert "0.1.1" in ran["upgrade"]
    assert '"workload low"' in ran["upgrade"]


def test_tuned_leaves_its_cpus_alone(ran: Mapping[str, str]) -> None:
    assert "Current active profile: vmpower" in ran["tuned"]
    assert "performance\nuserspace\n" in ran["tuned"]
    assert ran["tuned"].count('"drift": null') == 2


def test_it_runs_without_root(ran: Mapping[str, str]) -> None:
    lines = [line for line in ran["unprivileged"].splitlines() if line]
    assert lines[0] == "vmpower"
    assert re.fullmatch(r"CapEff:\s+0+", lines[1])
    assert "served" in lines
    assert exposure(ran["unprivileged"]) <= 2.0


def test_the_exposure_of_root_is_low(ran: Mapping[str, str]) -> None:
    assert exposure(ran["sandbox"]) <= 2.0


def test_channels_of_dpdk_s_directory_are_served(ran: Mapping[str, str]) -> None:
    assert ran["tmp"].split() == ["/tmp/powermonitor", "connected"]


def test_offboarding_leaves_no_trace_in_domains(ran: Mapping[str, str]) -> None:
    # The channel of `fw` is its own.
    assert ran["offboard"].split()[-3:] == ["0", "1", "same"]


def test_a_removal_stops_it_and_a_purge_leaves_no_trace(
    ran: Mapping[str, str],
) -> None:
    assert "vmpower domain offboard --all" in ran["remove"]
    assert "inactive" in ran["remove"]
    assert "schedutil" in ran["remove"]
    assert "vmpower.toml" in ran["remove"]
    assert ran["purge"].split() == []
