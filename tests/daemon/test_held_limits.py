# SPDX-License-Identifier: Apache-2.0
"""Limits hold in the kernel without any request, and are restored after a crash."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.power.sysfs import policy_path
from tests.daemon.daemon_process import CHECKOUT, CONFIG, DaemonProcess
from tests.daemon.libvirt_test_guests import GuestEnd, tree_bytes, write_driver_file
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

MAX, BOOST = "scaling_max_freq", "devices/system/cpu/cpufreq/boost"
TURBO, NOMINAL, MIDDLE, LOWEST = 3_001_000, 3_000_000, 2_000_000, 1_200_000
LIMITS = """\
[bounds]
max_khz = "3GHz"
[[domain]]
match = "dpdk-*"
max_khz = "2GHz"
"""


@pytest.fixture
def limited(uri: str, tree: CpuTree) -> Iterator[DaemonProcess]:
    """All CPUs at 3 GHz at most, CPUs 2 and 3, where dpdk-0 runs, at 2 GHz."""
    with DaemonProcess(uri, tree.root, config=LIMITS) as daemon:
        wait_until_held(tree)
        yield daemon


def maxima(tree: CpuTree) -> list[int | None]:
    return [tree.read_khz(policy_path(number, MAX)) for number in range(8)]


def wait_until_held(tree: CpuTree) -> None:
    expected = [MIDDLE if number in (2, 3) else NOMINAL for number in range(8)]
    wait_for(lambda: maxima(tree) == expected, "the limits hold")


def kill_main(daemon: DaemonProcess) -> None:
    daemon.monitor_pid  # noqa: B018 - waits for it
    daemon.kill()


def test_limits_hold_without_any_request_and_end_with_their_rule_or_the_daemon(
    tree: CpuTree, uri: str
) -> None:
    before = tree_bytes(tree.root)
    with DaemonProcess(uri, tree.root, config=LIMITS) as daemon:
        wait_until_held(tree)
        (cpu,) = [cpu for cpu in daemon.status()["cpus"] if cpu["pcpu"] == 2]
        assert (cpu["claimed"], cpu["governor"], cpu["max_khz"]) == (
            *(False, "schedutil"),
            MIDDLE,
        )
        text = CONFIG.format(access="auto", resync_s=30, release_after_s=30)
        daemon.config.write_text(LIMITS.replace("dpdk-*", "other-*") + text)
        daemon.signal(1)
        wait_for(lambda: maxima(tree) == [NOMINAL] * 8, "the rule ended")
        assert daemon.stop() == 0
        assert not (daemon.run_dir / "limits.json").exists()
    assert tree_bytes(tree.root) == before


def test_the_next_start_holds_what_is_wanted_then(
    directory: Path, tree: CpuTree, limited: DaemonProcess
) -> None:
    kill_main(limited)
    wait_until_held(tree)
    limited.uri = write_driver_file(directory / "empty.xml", [])
    limited.start()
    wait_for(lambda: maxima(tree) == [NOMINAL] * 8, "the domain is gone")
    assert limited.stop() == 0
    assert maxima(tree) == [TURBO] * 8


def test_the_restore_command_restores_limits(
    tree: CpuTree, limited: DaemonProcess
) -> None:
    kill_main(limited)
    command = [
        *(sys.executable, "-m", "cli", "--run-dir", str(limited.run_dir)),
        *("restore", "--sysfs-root", str(tree.root)),
    ]
    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "clock group 7: restored" in done.stdout
    assert maxima(tree) == [TURBO] * 8


def test_a_limit_of_another_program_counts_after_the_next_verification(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    limit = tree.root / policy_path(2, MAX)
    with DaemonProcess(uri, tree.root) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.ACK
        limit.write_text(f"{MIDDLE}\n")
        daemon.wait_for(lambda s: s["domains"][0]["vcpus"][0]["max_khz"] == MIDDLE)
        wait_for(
            lambda: tree.read_khz(policy_path(2, "scaling_setspeed")) == MIDDLE,
            "the grant is within it",
        )


def test_without_boost_turbo_is_refused_with_the_cause(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        assert ends[0].request(0, Unit.ENABLE_TURBO) is Answer.ACK
        (tree.root / BOOST).write_text("0\n")
        daemon.wait_for(lambda s: s["domains"][0]["vcpus"][0]["max_khz"] == NOMINAL)
        assert ends[0].request(0, Unit.ENABLE_TURBO) is Answer.NACK
        cause = "turbo is off in the kernel for CPU 2 (cpufreq/boost)"
        channel = daemon.wait_for(
            lambda s: s["domains"][0]["channels"][0]["nack_causes"]
        )
        assert channel == {"turbo": cause}
        assert tree.read_khz(policy_path(2, "scaling_setspeed")) == NOMINAL
        (tree.root / BOOST).write_text("1\n")
        daemon.wait_for(lambda s: s["domains"][0]["vcpus"][0]["max_khz"] == TURBO)
        assert ends[0].request(0, Unit.ENABLE_TURBO) is Answer.ACK


def test_boost_that_is_off_at_the_start_counts_from_the_start(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    assert ends
    (tree.root / BOOST).write_text("0\n")
    with DaemonProcess(uri, tree.root) as daemon:
        assert {cpu["max_khz"] for cpu in daemon.status()["cpus"]} == {NOMINAL}


def test_cpus_without_domains_are_limited_if_the_operator_wants_that(
    tree: CpuTree, uri: str
) -> None:
    before = tree_bytes(tree.root)
    config = '[host]\nidle_cpus = "lowest"\nown_cpus = "0-1"\n'
    with DaemonProcess(uri, tree.root, config=config) as daemon:
        expected = [TURBO if number < 4 else LOWEST for number in range(8)]
        wait_for(lambda: maxima(tree) == expected, "unused CPUs are limited")
        assert daemon.stop() == 0
    assert tree_bytes(tree.root) == before
