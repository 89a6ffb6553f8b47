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
    from collections.abc import Mapping

    from tests.packaging.debian_guest import Outcome

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent
RELEASES = {"trixie": NATIVE, "bookworm": 12}
QUICK = "trixie, installed before"
"""One boot of three minutes, for `make test`; `make test-service` sets
VMPOWER_SERVICE=all and does everything on each release."""
READY_WITHIN_S = 900
"""Far above the 2 minutes of a machine whose CPU is not emulated by a busy one."""


@functools.cache
def boot(release: str) -> Mapping[str, str]:
    """Return what each section of the script printed."""
    number = RELEASES[release]
    system = fetch_system(release)
    first, second = (build_debs(version, number) for version in ("0.1.0", "0.1.1"))
    files = {
        "vmpower_1.deb": first.vmpower,
        "guest_1.deb": first.guest,
        "vmpower_2.deb": second.vmpower,
        "fw.xml": HERE / "fw.xml",
    }
    return _checked(run_in_debian(system, HERE / "service.sh", files))


@functools.cache
def boot_quickly() -> Mapping[str, str]:
    """As `boot`, with the first packages installed already, and fewer sections."""
    system = fetch_system("trixie")
    files: dict[str, Path | str] = {"fw.xml": HERE / "fw.xml", "quick": ""}
    debs = build_debs()
    # The page for Cockpit depends on what this Debian does not have.
    packages = (debs.vmpower, debs.guest)
    outcome = run_in_debian(system, HERE / "service.sh", files, installed=packages)
    return _checked(outcome)


def _checked(outcome: Outcome) -> Mapping[str, str]:
    assert "TIMEOUT" not in outcome.output, outcome.output
    return outcome.sections


@pytest.fixture(params=[QUICK, *RELEASES])
def any_boot(request: pytest.FixtureRequest) -> Mapping[str, str]:
    release: str = request.param
    is_all = os.environ.get("VMPOWER_SERVICE") == "all"
    if (release == QUICK) is is_all:
        pytest.skip("VMPOWER_SERVICE=all selects the others")
    return boot_quickly() if release == QUICK else boot(release)


@pytest.fixture(params=RELEASES)
def ran(request: pytest.FixtureRequest) -> Mapping[str, str]:
    if os.environ.get("VMPOWER_SERVICE") != "all":
        pytest.skip("make test-service boots all releases")
    return boot(request.param)


def test_from_the_package_to_a_served_domain(ran: Mapping[str, str]) -> None:
    assert "enabled" in ran["install"]
    assert "vmpower 0.1.0" in ran["install"]
    found = re.search(r"seconds=(\d+)", ran["served"])
    assert found
    assert int(found[1]) < READY_WITHIN_S
    assert ran["served"].split()[-2:] == ["userspace", "1200000"]


def test_it_starts_at_boot_after_libvirt(any_boot: Mapping[str, str]) -> None:
    assert any_boot["boot"].split() == ["libvirtd.service", "userspace", "1200000"]


def test_the_journal_has_fields(any_boot: Mapping[str, str]) -> None:
    records = [json.loads(line) for line in any_boot["journal"].split("\n") if line]
    assert records
    for record in records:
        assert len(record["UUID"]) == 36
        assert record["PRIORITY"] in "346"
    assert "0" in {record.get("CHANNEL") for record in records}
    assert "policy" in {record["VMPOWER_EVENT"] for record in records}


def test_only_cpus_are_writable_in_sys(any_boot: Mapping[str, str]) -> None:
    assert "writable" not in any_boot["sandbox"].splitlines()
    mounts = dict(re.findall(r"^(/sys\S*) (r[wo]),", any_boot["sandbox"], re.MULTILINE))
    assert mounts["/sys/devices/system/cpu"] == "rw"
    assert {mounts[f"/sys/{name}"] for name in ("class", "devices", "kernel")} == {"ro"}
    assert any_boot["sandbox"].split()[-1] == "vmpower"


def test_a_reload_is_reported(ran: Mapping[str, str]) -> None:
    assert "log_level" in ran["reload"]


def test_decisions_outlive_a_restart(ran: Mapping[str, str]) -> None:
    assert "restarted" in ran["restart"]
    assert "workload" in ran["restart"]


def test_it_is_started_again_after_a_kill(ran: Mapping[str, str]) -> None:
    assert ran["kill"].split()[-2:] == ["1", "served"]


def test_a_process_that_hangs_ends_the_watchdog(ran: Mapping[str, str]) -> None:
    assert "monitor replaced" in ran["watchdog"]
    assert "Watchdog timeout" in ran["watchdog"]
    assert ran["watchdog"].split()[-1] == "served"


def test_an_upgrade_restarts_it_and_keeps_decisions(ran: Mapping[str, str]) -> None:
    assert "restarted" in ran["upgrade"]
    assert "0.1.1" in ran["upgrade"]
    assert "workload" in ran["upgrade"]


def test_tuned_leaves_its_cpus_alone(ran: Mapping[str, str]) -> None:
    assert "Current active profile: vmpower" in ran["tuned"]
    assert "performance\nuserspace\n" in ran["tuned"]
    assert ran["tuned"].count('"drift": null') == 2


def test_a_stop_restores_the_cpus(any_boot: Mapping[str, str]) -> None:
    assert any_boot["stop"].split() == ["schedutil", "inactive"]


def test_it_runs_without_root(ran: Mapping[str, str]) -> None:
    lines = [line for line in ran["unprivileged"].splitlines() if line]
    assert lines[0] == "vmpower"
    assert re.fullmatch(r"CapEff:\s+0+", lines[1])
    assert "served" in lines
    (level,) = re.findall(
        r"exposure level for vmpowerd.service: ([\d.]+)", ran["unprivileged"]
    )
    assert float(level) <= 2.0


def test_a_removal_stops_it_and_a_purge_leaves_no_trace(
    ran: Mapping[str, str],
) -> None:
    assert "vmpower domain offboard --all" in ran["remove"]
    assert "inactive" in ran["remove"]
    assert "schedutil" in ran["remove"]
    assert "vmpower.toml" in ran["remove"]
    assert ran["purge"].split() == []
