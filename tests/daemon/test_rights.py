# SPDX-License-Identifier: Apache-2.0
"""Limits and rights with a real daemon: set while a domain runs, and shown."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from cli.app import app
from orchestrator.channel.protocol import Answer, Unit
from tests.cli.commands import new_runner
from tests.daemon.daemon_process import CONFIG, DaemonProcess
from tests.daemon.test_policies import (
    GOVERNOR,
    LOW,
    MAX,
    MIN,
    send,
    wait_for_frequencies,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree
    from tests.daemon.libvirt_test_guests import GuestEnd

MIDDLE = 2_000_000
HIGH = LOW._replace(workload=0)
DEFAULTS: dict[str, object] = {
    "min_khz": None,
    "max_khz": None,
    "turbo": True,
    "mode": "enforce",
    "queries": True,
    "energy_queries": True,
    "guest_policies": True,
    "rapl": False,
    "generation": None,
}


def set_rule(daemon: DaemonProcess, option: str) -> None:
    """Set an option of the domain in the configuration, while it runs."""
    rule = f'[[domain]]\nmatch = "dpdk-*"\n{option}\n'
    text = CONFIG.format(access="auto", resync_s=30, release_after_s=0.3)
    daemon.config.write_text(rule + text, encoding="utf-8")
    daemon.signal(signal.SIGHUP)


def rights(daemon: DaemonProcess) -> dict[str, Any]:
    found = daemon.domain("dpdk-0")["rights"]
    assert found is not None
    return {name: value for name, value in found.items() if name in DEFAULTS}


@pytest.mark.parametrize(
    ("name", "option", "value", "shown"),
    [
        ("min_khz", 'min_khz = "2GHz"', MIDDLE, "Min frequency 2.00 GHz"),
        ("max_khz", 'max_khz = "2GHz"', MIDDLE, "Max frequency 2.00 GHz"),
        ("turbo", "turbo = false", False, "Turbo no"),
        ("mode", 'mode = "observe"', "observe", "Mode observe"),
        ("queries", "queries = false", False, "Queries no"),
        ("energy_queries", "energy_queries = false", False, "Energy queries no"),
        ("guest_policies", "guest_policies = false", False, "Guest policies no"),
        ("rapl", "rapl = true", True, "RAPL yes"),
        ("generation", "generation = 460", 460, "Generation 460"),
    ],
)
def test_each_right_is_shown_with_its_source_once_it_is_set(
    daemon: DaemonProcess, name: str, option: str, value: object, shown: str
) -> None:
    expected = {key: {"value": it, "source": "default"} for key, it in DEFAULTS.items()}
    assert rights(daemon) == expected
    set_rule(daemon, option)
    expected[name] = {"value": value, "source": "rule dpdk-*"}
    wait_for(lambda: rights(daemon) == expected, option)
    arguments = ("--socket", str(daemon.socket), "domain", "show", "dpdk-0")
    lines = new_runner().invoke(app, arguments).stdout.splitlines()
    settings = lines[: next(n for n, line in enumerate(lines) if "Limited by" in line)]
    rule_lines = [" ".join(line.split()) for line in settings if "rule dpdk" in line]
    expected_lines = {f"{shown} rule dpdk-*"}
    if name == "turbo":
        expected_lines.add("Max frequency 3.00 GHz turbo off (rule dpdk-*)")
    assert set(rule_lines) == expected_lines


def test_a_changed_setting_applies_at_once_to_earlier_requests(
    daemon: DaemonProcess, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    governor = tree.read(GOVERNOR.format(2))
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    wait_for_frequencies(tree, MIN)
    set_rule(daemon, 'min_khz = "2GHz"')
    wait_for_frequencies(tree, MIDDLE)
    set_rule(daemon, "")
    wait_for_frequencies(tree, MIN)
    assert send(ends[1], HIGH) is Answer.ACK
    wait_for_frequencies(tree, MAX)
    set_rule(daemon, 'max_khz = "2GHz"')
    wait_for_frequencies(tree, MIDDLE)
    set_rule(daemon, "guest_policies = false")
    wait_for_frequencies(tree, MIN)
    assert send(ends[1], HIGH) is Answer.NACK
    set_rule(daemon, 'mode = "observe"\nguest_policies = false')
    wait_for(
        lambda: tree.read(GOVERNOR.format(2)) == governor, "the governor is restored"
    )
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
