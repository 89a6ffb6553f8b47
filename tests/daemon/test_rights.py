"""Bounds and rights through the whole daemon: said while a domain runs, and shown."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from orchestrator.channel.protocol import Answer, Unit
from tests.daemon.daemon_process import CONFIG, DaemonProcess
from tests.daemon.test_policies import GOVERNOR, LOW, MAX, MIN, send, wait_for_clocks
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
    "guest_policies": True,
    "generation": None,
}


def say(daemon: DaemonProcess, said: str) -> None:
    """Have the configuration say something about the domain, while it runs."""
    rule = f'[[domain]]\nmatch = "dpdk-*"\n{said}\n'
    text = CONFIG.format(access="auto", resync_s=30, release_after_s=0.3)
    daemon.config.write_text(rule + text, encoding="utf-8")
    daemon.signal(signal.SIGHUP)


def rights(daemon: DaemonProcess) -> dict[str, Any]:
    told = daemon.domain("dpdk-0")["rights"]
    assert told is not None
    return {name: value for name, value in told.items() if name in DEFAULTS}


@pytest.mark.parametrize(
    ("name", "said", "value", "shown"),
    [
        ("min_khz", 'min_khz = "2GHz"', MIDDLE, "Min frequency 2.00 GHz"),
        ("max_khz", 'max_khz = "2GHz"', MIDDLE, "Max frequency 2.00 GHz"),
        ("turbo", "turbo = false", False, "Turbo no"),
        ("mode", 'mode = "observe"', "observe", "Mode observe"),
        ("queries", "queries = false", False, "Queries no"),
        ("guest_policies", "guest_policies = false", False, "Guest policies no"),
        ("generation", "generation = 460", 460, "Generation 460"),
    ],
)
def test_each_right_is_shown_with_who_says_so_once_it_is_said(
    daemon: DaemonProcess, name: str, said: str, value: object, shown: str
) -> None:
    expected = {key: {"value": it, "source": "default"} for key, it in DEFAULTS.items()}
    assert rights(daemon) == expected
    say(daemon, said)
    expected[name] = {"value": value, "source": "rule dpdk-*"}
    wait_for(lambda: rights(daemon) == expected, said)
    words = ("--socket", str(daemon.socket), "domain", "show", "dpdk-0")
    lines = CliRunner().invoke(app, words).stdout.splitlines()
    said_by_rule = [line for line in lines if "rule dpdk-*" in line]
    assert [" ".join(line.split()) for line in said_by_rule] == [f"{shown} rule dpdk-*"]


def test_what_is_said_holds_at_once_for_what_was_asked_before(
    daemon: DaemonProcess, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    governor = tree.read(GOVERNOR.format(2))
    assert ends[0].ask(0, Unit.SCALE_MIN) is Answer.ACK
    wait_for_clocks(tree, MIN)
    say(daemon, 'min_khz = "2GHz"')
    wait_for_clocks(tree, MIDDLE)
    say(daemon, "")
    wait_for_clocks(tree, MIN)
    assert send(ends[1], HIGH) is Answer.ACK
    wait_for_clocks(tree, MAX)
    say(daemon, 'max_khz = "2GHz"')
    wait_for_clocks(tree, MIDDLE)
    say(daemon, "guest_policies = false")
    wait_for_clocks(tree, MIN)
    assert send(ends[1], HIGH) is Answer.NACK
    say(daemon, 'mode = "observe"\nguest_policies = false')
    wait_for(lambda: tree.read(GOVERNOR.format(2)) == governor, "the clock goes back")
    assert ends[0].ask(0, Unit.SCALE_MIN) is Answer.NACK
