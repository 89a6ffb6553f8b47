# SPDX-License-Identifier: Apache-2.0
"""Idle latency and others are held, and restored after a crash of any process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.control.client import ControlClient
from orchestrator.power.attribute_kinds import BOOST
from tests.daemon.daemon_process import CHECKOUT, DaemonProcess
from tests.daemon.libvirt_test_guests import tree_bytes, write_driver_file
from tests.power.attribute_files import (
    add_idle_states,
    add_preferences,
    add_uncore,
    change,
    latency_path,
    preference_path,
    uncore_path,
    value_of,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

CONFIG = """\
[turbo]
switch = "off"
[uncore]
max_khz = "1.8GHz"
[epp]
preference = "balance_power"
[[domain]]
match = "dpdk-*"
idle_latency_us = 50
epp = "performance"
"""
UNCORE = uncore_path("max_freq_khz")


@pytest.fixture
def complete(tree: CpuTree) -> CpuTree:
    """The tree, with everything that can be held."""
    add_idle_states(tree)
    add_preferences(tree)
    add_uncore(tree)
    return tree


def is_held(tree: CpuTree, *, has_domain: bool = True) -> bool:
    """Return whether all is as the configuration wants; dpdk-0 runs on CPUs 2 and 3."""
    found = [
        (value_of(tree, latency_path(n)), value_of(tree, preference_path(n)))
        for n in range(8)
    ]
    own, others = ("50", "performance"), ("0", "balance_power")
    expected = [own if has_domain and n in (2, 3) else others for n in range(8)]
    host = (value_of(tree, BOOST.every), value_of(tree, UNCORE))
    return found == expected and host == ("0", "1800000")


def test_settings_are_held_for_domains_and_the_host_and_end_with_the_daemon(
    complete: CpuTree, uri: str
) -> None:
    before = tree_bytes(complete.root)
    with DaemonProcess(uri, complete.root, config=CONFIG) as daemon:
        wait_for(lambda: is_held(complete), "all is held")
        states = daemon.wait_for(lambda s: s["domains"][0]["vcpus"][0]["idle_states"])
        assert states == ["POLL", "C1", "C2"]
        rights = daemon.status()["domains"][0]["rights"]
        assert rights is not None
        assert rights["idle_latency_us"] == {"value": 50, "source": "rule dpdk-*"}
        names = [it["name"] for it in daemon.status()["kernel_settings"]]
        assert "idle latency of CPUs 2-3" in names
        assert daemon.stop() == 0
        assert not (daemon.run_dir / "attributes.json").exists()
    assert tree_bytes(complete.root) == before


def test_policies_hold_until_they_are_removed_also_over_a_restart(
    complete: CpuTree, uri: str
) -> None:
    before = tree_bytes(complete.root)

    def held() -> tuple[list[str], list[str]]:
        latencies = [value_of(complete, latency_path(n)) for n in (2, 3)]
        return latencies, [value_of(complete, preference_path(n)) for n in (2, 3)]

    own = (["0", "20"], ["power", "power"])
    with DaemonProcess(uri, complete.root) as daemon:
        daemon.wait_for(lambda s: [it["name"] for it in s["domains"]] == ["dpdk-0"])
        with ControlClient(daemon.socket) as client:
            client.set_policy("dpdk-0", "epp", "epp=power")
            client.set_policy("dpdk-0", "latency", "latency=20us vcpus=1")
        wait_for(lambda: held() == own, "both are held")
        assert daemon.stop() == 0
        assert tree_bytes(complete.root) == before
        daemon.start()
        wait_for(lambda: held() == own, "both are held again")
        with ControlClient(daemon.socket) as client:
            client.remove_policy("dpdk-0", "epp")
            client.remove_policy("dpdk-0", "latency")
        wait_for(lambda: tree_bytes(complete.root) == before, "both are restored")


def test_another_program_s_value_is_left_and_shown(complete: CpuTree, uri: str) -> None:
    with DaemonProcess(uri, complete.root, config=CONFIG, resync_s=1) as daemon:
        wait_for(lambda: is_held(complete), "all is held")
        change(complete, latency_path(2), "10")
        daemon.wait_for(
            lambda s: any(
                (it["name"], it["outcome"]) == ("idle latency of CPU 2", "sufficient")
                for it in s["kernel_settings"]
            )
        )
        change(complete, preference_path(5), "power")
        daemon.wait_for(
            lambda s: any(it["outcome"] == "left" for it in s["kernel_settings"])
        )
    assert value_of(complete, latency_path(2)) == "10"
    assert value_of(complete, preference_path(5)) == "power"
    assert value_of(complete, preference_path(4)) == "balance_performance"


def test_the_next_start_holds_what_is_wanted_then(
    directory: Path, complete: CpuTree, uri: str
) -> None:
    before = tree_bytes(complete.root)
    with DaemonProcess(uri, complete.root, config=CONFIG) as daemon:
        wait_for(lambda: is_held(complete), "all is held")
        daemon.monitor_pid  # noqa: B018 - waits for it
        daemon.kill()
        assert is_held(complete)
        daemon.uri = write_driver_file(directory / "empty.xml", [])
        daemon.start()
        wait_for(lambda: is_held(complete, has_domain=False), "the domain is gone")
        assert daemon.stop() == 0
    assert tree_bytes(complete.root) == before


def test_the_restore_command_restores_them(complete: CpuTree, uri: str) -> None:
    before = tree_bytes(complete.root)
    with DaemonProcess(uri, complete.root, config=CONFIG) as daemon:
        wait_for(lambda: is_held(complete), "all is held")
        daemon.monitor_pid  # noqa: B018 - waits for it
        daemon.kill()
        command = [
            *(sys.executable, "-m", "cli", "--run-dir", str(daemon.run_dir)),
            *("restore", "--sysfs-root", str(complete.root)),
        ]
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "idle latency of CPUs 2-3" in done.stdout
    assert tree_bytes(complete.root) == before
