# SPDX-License-Identifier: Apache-2.0
"""Policies with a real daemon: simulated CPUs, domains of the test driver."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    Answer,
    Command,
    PolicyPacket,
    Request,
    Unit,
    encode,
    encode_connect,
    encode_policy,
)
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError
from orchestrator.sampling.branches import BranchCounters
from tests.daemon.daemon_process import CONFIG, DaemonProcess
from tests.daemon.libvirt_test_guests import DriverDomain, GuestEnd, write_driver_file
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import Status
    from orchestrator.power.sysfs import CpuTree

CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
GOVERNOR = "devices/system/cpu/cpufreq/policy{}/scaling_governor"
MIN, MAX = 1_200_000, 3_001_000
ALWAYS = tuple(range(24))
"""Every hour: in a packet, hour 0 counts only if another hour precedes it."""
VCPUS = (0, 1, 0, 0, 0, 0, 0, 0)
LOW = PolicyPacket(policy=2, workload=2, num_vcpu=2, vcpus=VCPUS)
ALL_LOW = """
[[policy]]
match = "dpdk-*"
kind = "workload"
workload = "low"
"""


def frequency(tree: CpuTree, group: int) -> int | None:
    return tree.read_khz(CLOCK.format(group))


def wait_for_frequencies(tree: CpuTree, *khz: int) -> None:
    """Wait until CPUs 2, 3... have these frequencies."""
    groups = range(2, 2 + len(khz))
    wait_for(
        lambda: [frequency(tree, g) for g in groups] == [*khz], f"frequencies {khz}"
    )


def wait_for_governor(tree: CpuTree, governor: str) -> None:
    wait_for(
        lambda: {tree.read(GOVERNOR.format(g)) for g in (2, 3)} == {governor},
        f"governor {governor}",
    )


def send(end: GuestEnd, policy: PolicyPacket) -> Answer:
    return end.send_packet(encode_policy(policy))


def test_a_rule_controls_a_guest_without_a_channel(
    directory: Path, tree: CpuTree
) -> None:
    uri = write_driver_file(
        directory / "node.xml", [DriverDomain(name="dpdk-0", pins=("2", "3"), paths={})]
    )
    before = tree.read(GOVERNOR.format(2))
    with DaemonProcess(uri, tree.root, config=ALL_LOW, release_after_s=0.3) as daemon:
        wait_for_frequencies(tree, MIN, MIN)
        assert tree.read(GOVERNOR.format(4)) == before
        without = CONFIG.format(access="auto", resync_s=30, release_after_s=0.3)
        daemon.config.write_text(without, encoding="utf-8")
        daemon.signal(signal.SIGHUP)
        wait_for_governor(tree, before)
        daemon.wait_for_log("policy workload of rule dpdk-*[0] is in force")


QUIET = """
[[policy]]
match = "dpdk-*"
kind = "time-of-day"
quiet = ["{quiet}"]
otherwise = "unchanged"
zone = "UTC"
"""


def test_a_corrected_timetable_keeps_nothing_of_the_level_before(
    directory: Path, tree: CpuTree
) -> None:
    uri = write_driver_file(
        directory / "node.xml", [DriverDomain(name="dpdk-0", pins=("2", "3"), paths={})]
    )
    before = tree.read(GOVERNOR.format(2))
    wrong = QUIET.format(quiet="00:00-24:00")
    with DaemonProcess(uri, tree.root, config=wrong, release_after_s=0.3) as daemon:
        wait_for_frequencies(tree, MIN, MIN)
        # Not before long.
        begin = datetime.now(UTC).hour + 12
        hours = f"{begin % 24:02}:00-{(begin + 1) % 24:02}:00"
        settings = CONFIG.format(access="auto", resync_s=30, release_after_s=0.3)
        corrected = settings + QUIET.format(quiet=hours)
        daemon.config.write_text(corrected, encoding="utf-8")
        daemon.signal(signal.SIGHUP)
        wait_for_governor(tree, before)
        with ControlClient(daemon.socket) as client:
            (policy,) = client.policies()["policies"]
        change = policy["next_change"]
        assert change is not None
        assert change["level"] == "lowest"
        assert change["at"].endswith(f"T{hours[:5]}:00Z")


@pytest.mark.usefixtures("daemon")
def test_dts_a_guest_s_workload_policy_changes_its_frequencies_and_ends(
    tree: CpuTree, ends: list[GuestEnd]
) -> None:
    before = tree.read(GOVERNOR.format(2))
    assert send(ends[1], LOW) is Answer.ACK
    wait_for_frequencies(tree, MIN, MIN)
    assert send(ends[1], LOW._replace(workload=0)) is Answer.ACK
    wait_for_frequencies(tree, MAX, MAX)
    assert send(ends[1], LOW._replace(workload=1)) is Answer.ACK
    wait_for_frequencies(tree, 2_000_000, 2_000_000)
    remove = encode(Request(0, 0, command=Command.PKT_POLICY_REMOVE))
    ends[1].peer.sendall(remove)
    wait_for_governor(tree, before)


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("policy", "khz"),
    [
        (LOW._replace(policy=1, busy_hours=ALWAYS), MAX),
        (LOW._replace(policy=1, quiet_hours=ALWAYS), MIN),
    ],
)
def test_dts_a_guest_s_time_policy_changes_its_frequencies(
    tree: CpuTree, ends: list[GuestEnd], policy: PolicyPacket, khz: int
) -> None:
    assert send(ends[0], policy) is Answer.ACK
    wait_for_governor(tree, "userspace")
    wait_for_frequencies(tree, khz, khz)


MAC = bytes.fromhex("525400123456")
TAP = (
    "<interface type='bridge'><mac address='52:54:00:12:34:56'/>"
    "<source bridge='br0'/></interface>"
)


class Tap:
    """The counter of the tap, with the test driver's name; the test increments it."""

    def __init__(self, root: Path) -> None:
        self._file = root / "class" / "net" / "testnet0" / "statistics" / "tx_packets"
        self._file.parent.mkdir(parents=True)
        self._packets = 0
        self.add(0)

    def add(self, packets: int) -> None:
        self._packets += packets
        new = self._file.with_name("new")
        new.write_text(f"{self._packets}\n")
        new.replace(self._file)


def test_dts_a_guest_s_traffic_policy_follows_its_own_interface(
    directory: Path, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    tap = Tap(tree.root)
    paths = {0: ends[0].path}
    domain = DriverDomain(name="dpdk-0", pins=("2", "3"), paths=paths, devices=TAP)
    uri = write_driver_file(directory / "node.xml", [domain])
    # The thresholds of DPDK's guest_cli.
    policy = LOW._replace(
        policy=0, nb_mac=1, vfid=(MAC,) * 10, avg_pps=1_800_000, max_pps=2_000_000
    )
    with DaemonProcess(uri, tree.root) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        stranger = policy._replace(vfid=(bytes(8),) * 10)
        assert send(ends[0], stranger) is Answer.NACK
        assert send(ends[0], policy) is Answer.ACK
        wait_for_frequencies(tree, MIN, MIN)

        def is_high() -> bool:
            tap.add(2_000_000)
            return frequency(tree, 2) == MAX

        wait_for(is_high, "the highest step under load")
        wait_for_frequencies(tree, MIN, MIN)


@pytest.mark.usefixtures("daemon")
def test_f18_a_policy_that_needs_missing_counters_is_refused(
    ends: list[GuestEnd],
) -> None:
    counters = BranchCounters()
    obstacle = counters.find_obstacle([2, 3])
    counters.keep(())
    if obstacle is None:
        pytest.skip("this machine has branch counters")
    assert send(ends[0], LOW._replace(policy=3)) is Answer.NACK


def test_t13_a_policy_that_is_not_in_force_is_not_acknowledged(
    daemon: DaemonProcess, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    before = tree.read(GOVERNOR.format(2))
    for wrong in [
        LOW._replace(core_type=1),
        LOW._replace(vcpus=(0, 9, 0, 0, 0, 0, 0, 0)),
        LOW._replace(policy=0, nb_mac=1),
        LOW._replace(policy=0, nb_mac=0, num_vcpu=255),
    ]:
        assert send(ends[0], wrong) is Answer.NACK
    assert tree.read(GOVERNOR.format(2)) == before
    daemon.wait_for_log("refused: the domain has no interface 00:00:00:00:00:00")
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK


@pytest.mark.usefixtures("daemon")
def test_f7_a_guest_s_policy_ends_with_its_channel(
    tree: CpuTree, ends: list[GuestEnd]
) -> None:
    before = tree.read(GOVERNOR.format(2))
    assert send(ends[1], LOW) is Answer.ACK
    wait_for_frequencies(tree, MIN, MIN)
    ends[1].close()
    wait_for_governor(tree, before)


def test_an_operator_s_policy_takes_precedence_over_a_rule_until_it_is_removed(
    directory: Path, tree: CpuTree
) -> None:
    domains = [
        DriverDomain(name="dpdk-0", pins=("2", "3"), paths={}, number=1),
        DriverDomain(name="dpdk-floats", pins=("4-5",), paths={}, number=2),
    ]
    uri = write_driver_file(directory / "node.xml", domains)
    with DaemonProcess(uri, tree.root, config=ALL_LOW) as daemon:
        wait_for_frequencies(tree, MIN, MIN)
        with ControlClient(daemon.socket) as client:
            done = client.set_policy("dpdk-0", "now", "workload high vcpus=1")
            assert (done["source"], done["name"]) == ("operator", "now")
            wait_for_frequencies(tree, MIN, MAX)
            client.set_policy("dpdk-0", "now", "workload medium")
            wait_for_frequencies(tree, 2_000_000, 2_000_000)
            left = client.remove_policy("dpdk-0", "now")["policies"]
            assert [policy["source"] for policy in left] == ["rule"]
            wait_for_frequencies(tree, MIN, MIN)
            for text, why in [
                ("branch-ratio vcpus=7", "has no vCPU 7"),
                (
                    "traffic avg-pps=100 max-pps=1000",
                    "^policy not set: traffic: the domain has no matching",
                ),
                ("speed", "unknown policy kind 'speed'"),
                ("utilisation; workload low", "expected one policy, not 2"),
            ]:
                with pytest.raises(ControlError, match=why):
                    client.set_policy("dpdk-0", "now", text)
            (warning,) = client.set_policy("dpdk-floats", "now", "utilisation")[
                "warnings"
            ]
            assert "floats over CPUs 4-5" in warning
            with pytest.raises(ControlError, match="no policy 'now' was set for"):
                client.remove_policy("dpdk-0", "now")


def test_a_guest_s_request_counts_beside_a_policy(
    uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root, config=ALL_LOW) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        wait_for_frequencies(tree, MIN, MIN)
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.ACK
        wait_for_frequencies(tree, MAX, MIN)
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        wait_for_frequencies(tree, MIN, MIN)


def test_a_guest_that_has_only_connected_does_not_outvote_a_policy(
    uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root, config=ALL_LOW) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        wait_for_frequencies(tree, MIN, MIN)
        ends[0].peer.sendall(encode_connect())
        # The request after it has been answered, so CONNECT was processed.
        assert ends[0].request(9, Unit.SCALE_MIN) is Answer.NACK
        wait_for_frequencies(tree, MIN, MIN)
        daemon.config.write_text(
            CONFIG.format(access="auto", resync_s=30, release_after_s=5)
        )
        daemon.signal(signal.SIGHUP)
        wait_for_frequencies(tree, MAX)


@pytest.mark.usefixtures("ends")
def test_policies_continue_with_a_new_monitor(uri: str, tree: CpuTree) -> None:
    with DaemonProcess(uri, tree.root, config=ALL_LOW) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        wait_for_frequencies(tree, MIN, MIN)
        first = daemon.monitor_pid
        os.kill(first, signal.SIGKILL)

        def is_new(status: Status) -> bool:
            return status["daemon"]["monitor_pid"] not in (None, first)

        daemon.wait_for(is_new)
        wait_for_frequencies(tree, MIN, MIN)
        requested = daemon.domain("dpdk-0")["vcpus"]
        assert [vcpu["requested_khz"] for vcpu in requested] == [MIN, MIN]
