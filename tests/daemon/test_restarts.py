# SPDX-License-Identifier: Apache-2.0
"""Decisions survive a restart of the daemon, with real daemons."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    Answer,
    PolicyPacket,
    Unit,
    WorkloadLevel,
    encode_policy,
)
from orchestrator.channel.protocol import PolicyKind as PacketKind
from orchestrator.control.client import ControlClient
from orchestrator.saved.store import STATE_NAME
from tests.daemon.libvirt_test_guests import GuestEnd
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree
    from tests.daemon.daemon_process import DaemonProcess

CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
GOVERNOR = "devices/system/cpu/cpufreq/policy{}/scaling_governor"
LOW = PolicyPacket(
    policy=PacketKind.WORKLOAD,
    workload=WorkloadLevel.LOW,
    vcpus=(1, *[0] * 7),
    num_vcpu=1,
)


def restart(daemon: DaemonProcess, ends: list[GuestEnd]) -> None:
    assert daemon.stop() == 0
    daemon.start()
    for end in ends:
        end.accept()


def wait_for_khz(tree: CpuTree, group: int, khz: int) -> None:
    wait_for(
        lambda: (
            tree.read_khz(CLOCK.format(group)) == khz
            and tree.read(GOVERNOR.format(group)) == "userspace"
        ),
        f"CPU {group} at {khz} kHz",
    )


def test_an_override_is_in_force_again(
    daemon: DaemonProcess, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    with ControlClient(daemon.socket) as client:
        client.override(5, 1_200_000)
    assert daemon.stop() == 0
    assert tree.read(GOVERNOR.format(5)) != "userspace"
    daemon.start()
    wait_for_khz(tree, 5, 1_200_000)
    with ControlClient(daemon.socket) as client:
        assert client.cpu(5)["override_khz"] == 1_200_000
        client.release(5)
    restart(daemon, ends)
    with ControlClient(daemon.socket) as client:
        assert client.cpu(5)["override_khz"] is None


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_an_operator_decided_survives(
    daemon: DaemonProcess, ends: list[GuestEnd], tree: CpuTree, *, is_killed: bool
) -> None:
    with ControlClient(daemon.socket) as client:
        client.override(5, 2_000_000)
        client.switch_channel("dpdk-0", 0, enabled=False)
        client.set_policy("dpdk-0", "night", text="workload low vcpus=1")
    if is_killed:
        daemon.kill()
        daemon.start()
    else:
        restart(daemon, ends)
    wait_for_khz(tree, 5, 2_000_000)
    daemon.wait_for_channel("dpdk-0", 0, "disabled")
    policies = daemon.wait_for(lambda status: status["domains"][0]["policies"])
    assert [(p["source"], p["name"]) for p in policies] == [("operator", "night")]
    wait_for_khz(tree, 3, 1_200_000)


def test_a_disabled_channel_refuses_after_the_restart(
    daemon: DaemonProcess, ends: list[GuestEnd]
) -> None:
    with ControlClient(daemon.socket) as client:
        client.switch_channel("dpdk-0", 0, enabled=False)
    restart(daemon, ends)
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
    assert ends[1].request(1, Unit.SCALE_MIN) is Answer.ACK


def test_votes_and_policies_of_guests_are_resumed(
    daemon: DaemonProcess, ends: list[GuestEnd], tree: CpuTree
) -> None:
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    assert ends[1].send_packet(encode_policy(LOW)) is Answer.ACK
    wait_for_khz(tree, 2, 1_200_000)
    wait_for_khz(tree, 3, 1_200_000)
    restart(daemon, ends)
    wait_for_khz(tree, 2, 1_200_000)
    wait_for_khz(tree, 3, 1_200_000)
    policies = daemon.domain("dpdk-0")["policies"]
    assert [policy["source"] for policy in policies] == ["guest"]
    # The guest's vote, and no other reason, keeps the frequency below the nominal one.
    assert ends[0].request(0, Unit.DISABLE_TURBO) is Answer.ACK
    wait_for_khz(tree, 2, 1_200_000)


def test_votes_end_if_the_domain_was_restarted_meanwhile(
    daemon: DaemonProcess, ends: list[GuestEnd], tree: CpuTree
) -> None:
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    assert ends[1].send_packet(encode_policy(LOW)) is Answer.ACK
    wait_for_khz(tree, 2, 1_200_000)
    assert daemon.stop() == 0
    renew_socket(ends[0])
    daemon.start()
    daemon.wait_for_channel("dpdk-0", 1, "open")
    ended = "policy of guest channel 1 ended: the domain was restarted"
    daemon.wait_for_log(ended)
    assert daemon.domain("dpdk-0")["policies"] == []
    assert tree.read(GOVERNOR.format(2)) != "userspace"


def renew_socket(end: GuestEnd) -> None:
    """Give a channel another socket, as the next start of its domain does."""
    path = end.path
    end.close()
    GuestEnd.__init__(end, path)


def test_votes_of_a_killed_daemon_end(
    daemon: DaemonProcess, ends: list[GuestEnd], tree: CpuTree
) -> None:
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    restart(daemon, ends)
    wait_for_khz(tree, 2, 1_200_000)
    daemon.kill()  # what was saved at the end of its first run is outdated
    daemon.start()
    daemon.wait_for_channel("dpdk-0", 0, "open")
    assert daemon.domain("dpdk-0")["vcpus"][0]["requested_khz"] is None


def test_a_corrupt_file_is_set_aside(daemon: DaemonProcess) -> None:
    with ControlClient(daemon.socket) as client:
        client.override(5, 1_200_000)
    daemon.stop()
    file = daemon.run_dir / STATE_NAME
    file.write_text('{"schema": 1, "overrides": 7')
    daemon.start()
    daemon.wait_for_log("invalid state file, set aside")
    aside: Path = file.with_name(f"{STATE_NAME}.unreadable")
    assert aside.read_text() == '{"schema": 1, "overrides": 7'
    with ControlClient(daemon.socket) as client:
        assert client.cpu(5)["override_khz"] is None


def test_events_are_kept_and_a_reader_continues(
    daemon: DaemonProcess, ends: list[GuestEnd]
) -> None:
    with ControlClient(daemon.socket) as client:
        client.override(5, 1_200_000)
        before = list(client.events())
    uid, pid = os.getuid(), os.getpid()
    # The name is left out if its lookup takes long.
    users = (
        f"{pwd.getpwuid(uid).pw_name} (uid {uid}, pid {pid})",
        f"uid {uid} (pid {pid})",
    )
    texts = [event["text"] for event in before]
    assert any(f"CPU 5 fixed at 1.20 GHz by {user}" in texts for user in users), texts
    restart(daemon, ends)
    with ControlClient(daemon.socket) as client:
        after = list(client.events(after=before[-1]["id"]))
        everything = list(client.events())
    ids = [event["id"] for event in everything]
    assert ids == sorted(set(ids))
    assert everything[: len(before)] == before
    assert after == everything[len(before) :][: len(after)]
    assert any("remains fixed" in event["text"] for event in everything)
