# SPDX-License-Identifier: Apache-2.0
"""DPDK's own guests with the real daemon: its test suite, and its library."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import pytest

from orchestrator.channel.protocol import Answer
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.dpdk import (
    UNITS,
    dpdk_test_guest,
    librte_power_guest,
    parse_dialogues,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from orchestrator.control.documents import Channel, Status
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

POLICY = "devices/system/cpu/cpufreq/policy0"


class ClockHistory:
    """Every frequency that CPU 0 had while it was taken, in order.

    Polls every 2 ms, much more often than the guests send requests. Synchronization:
    one thread.
    """

    def __init__(self, tree: CpuTree) -> None:
        self._tree = tree
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self.frequencies: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._poll_once()

    def _poll(self) -> None:
        while not self._stop.wait(0.002):
            self._poll_once()

    def _poll_once(self) -> None:
        is_taken = self._tree.read(f"{POLICY}/scaling_governor") == "userspace"
        khz = self._tree.read_khz(f"{POLICY}/scaling_cur_freq")
        if is_taken and khz and self.frequencies[-1:] != [khz]:
            self.frequencies.append(khz)


@pytest.fixture
def daemon(system_host: SystemHost, tree: CpuTree) -> Iterator[DaemonProcess]:
    # Over a read-only connection the daemon does not notice at once that the guest
    # closes its port: its last frequency stays.
    with DaemonProcess(system_host.uri, tree.root, access="read-only") as daemon:
        yield daemon


DIALOGUES = 30


def test_dpdk_s_own_guest_command_line_gets_its_answers_in_time_and_in_step(
    system_host: SystemHost, daemon: DaemonProcess
) -> None:
    daemon.wait_for(lambda status: status["libvirt"]["connected"])
    spec = librte_power_guest(spacing_ms=20, dialogues=DIALOGUES, pins=("0", "1"))
    guest = system_host.start(spec)
    guest.console.wait_for("client: exit")
    dialogues = parse_dialogues(guest.console.lines)
    guest.remove()
    assert {name: dialogue.out_of_step for name, dialogue in dialogues.items()} == (
        dict.fromkeys(dialogues, 0)
    )
    answered = {name: it for name, it in dialogues.items() if name != "policy_remove"}
    # An emulated guest, on a machine that is busy with others, misses most.
    for name, dialogue in answered.items():
        assert dialogue.in_time > 0, (name, dialogue)
    assert {name: dialogue.answer for name, dialogue in answered.items()} == {
        "scale_min": Answer.ACK,
        "scale_other": Answer.ACK,
        "query_freq": Answer.FREQ_LIST,
        "query_other": Answer.FREQ_LIST,
        "query_freq_list": Answer.FREQ_LIST,
        "query_caps": Answer.CAPS_LIST,
        "query_caps_list": Answer.CAPS_LIST,
        "absent_scale": Answer.NACK,
        "absent_freq": Answer.NACK,
        "absent_caps": Answer.NACK,
        "policy": Answer.ACK,
    }
    assert {
        name: dialogue.values[: dialogue.vcpus + 1]
        for name, dialogue in answered.items()
        if dialogue.vcpus
    } == {
        "query_freq": (1_200_000, 0, 0),
        "query_other": (0, 3_000_000, 0),
        "query_freq_list": (1_200_000, 3_000_000, 0),
        "query_caps": (1, 0, 0),
        "query_caps_list": (1, 1, 0),
    }
    # The removal of a policy has no answer, and no other answer is taken for it; the
    # policy was in force meanwhile.
    assert dialogues["policy_remove"].none == DIALOGUES
    daemon.wait_for_log("policy workload of guest channel 0 is in force")


def answered(daemon: DaemonProcess, guest: Guest) -> Channel:
    """Wait until all six requests were answered, or dropped as late."""

    def counted(status: Status) -> Channel | None:
        channel = find_channel(status, guest.name, 0)
        done = channel and channel["acks_total"] + channel["late_total"] == len(UNITS)
        return channel if done else None

    channel = daemon.wait_for(counted)
    assert channel
    return channel


def test_dpdks_own_test_suite_passes(
    system_host: SystemHost, daemon: DaemonProcess, tree: CpuTree
) -> None:
    guest = system_host.start(dpdk_test_guest(pins="0"))
    channel = answered(daemon, guest)
    # DISABLE_TURBO was the last request about turbo, SCALE_MAX the last other one.
    assert tree.read_khz(f"{POLICY}/scaling_cur_freq") == 3_000_000
    assert channel["requests_total"] == 6
    # The tree has a turbo step, so nothing is refused.
    assert (channel["nacks_total"], channel["errors_total"]) == (0, 0)
    assert guest.console.wait_for("Test ") == "Test OK"
    guest.remove()


def test_each_call_of_librte_power_sets_its_frequency(
    system_host: SystemHost, daemon: DaemonProcess, tree: CpuTree
) -> None:
    guest = system_host.start(librte_power_guest(spacing_ms=100, pins=("0",)))
    with ClockHistory(tree) as history:
        channel = answered(daemon, guest)
    guest.remove()
    assert channel["nacks_total"] == 0
    # CONNECT and ENABLE_TURBO; DISABLE_TURBO, and UP at the highest step; DOWN; MIN;
    # MAX, without turbo.
    taken = history.frequencies.index(3_001_000)
    assert history.frequencies[taken:] == [
        3_001_000,
        3_000_000,
        2_000_000,
        1_200_000,
        3_000_000,
    ]
