# SPDX-License-Identifier: Apache-2.0
"""The daemon as a whole, with libvirt's test driver and simulated CPUs."""

from __future__ import annotations

import grp
import os
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError
from orchestrator.power.simulated import lay_out
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import GuestEnd, tree_bytes, write_driver_file
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

GOVERNOR = "devices/system/cpu/cpufreq/policy{}/scaling_governor"
CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
STEPS = (3_001_000, 3_000_000, 2_000_000, 1_200_000)


def frequency(tree: CpuTree, group: int) -> int | None:
    return tree.read_khz(CLOCK.format(group))


def governor(tree: CpuTree, group: int) -> str:
    return tree.read(GOVERNOR.format(group))


def test_a_guests_requests_set_frequencies_and_everything_is_restored_at_the_end(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    before = tree_bytes(tree.root)
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        assert tree_bytes(tree.root) == before, "changed before any request"
        ends[0].connect_packet()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        assert (frequency(tree, 2), governor(tree, 2)) == (1_200_000, "userspace")
        # Not UP: a request whose answer is late is repeated, and would move twice.
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.ACK
        assert frequency(tree, 2) == 3_001_000
        assert ends[0].request(1, Unit.SCALE_MIN) is Answer.ACK
        assert frequency(tree, 3) == 1_200_000
        assert ends[0].request(2, Unit.SCALE_MIN) is Answer.NACK
        channel = daemon.wait_for_answers("dpdk-0", 0, 4)
        (domain,) = daemon.status()["domains"]
        assert (channel["acks_total"], channel["nacks_total"]) == (3, 1)
        # A first answer that takes too long is late, and requested again.
        assert channel["requests_total"] == 4 + channel["late_total"]
        assert [v["requested_khz"] for v in domain["vcpus"]] == [3_001_000, 1_200_000]
        assert daemon.stop() == 0
    assert tree_bytes(tree.root) == before
    assert not daemon.socket.exists()


def test_a_channel_is_disabled_and_enabled_by_the_operator(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon, ControlClient(daemon.socket) as ask:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        assert ask.switch_channel("dpdk-0", 0, enabled=False)["state"] == "disabled"
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
        assert ask.switch_channel("dpdk-0", 0, enabled=True)["state"] == "open"
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK


def test_an_override_takes_precedence_over_the_guest_until_it_is_released(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon, ControlClient(daemon.socket) as ask:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        cpu = ask.override(2, 1_900_000)
        assert (cpu["override_khz"], cpu["grant_khz"]) == (2_000_000, 2_000_000)
        assert frequency(tree, 2) == 2_000_000
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.NACK
        assert frequency(tree, 2) == 2_000_000
        ask.release(2)
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.ACK
        assert frequency(tree, 2) == 3_001_000


def test_a_cpu_without_guests_can_be_overridden_and_is_restored(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    del ends
    with (
        DaemonProcess(uri, tree.root, release_after_s=0.2) as daemon,
        ControlClient(daemon.socket) as ask,
    ):
        before = governor(tree, 7)
        assert ask.override(7, 1_200_000)["claimed"]
        assert (frequency(tree, 7), governor(tree, 7)) == (1_200_000, "userspace")
        ask.release(7)
        wait_for(lambda: governor(tree, 7) == before, "the governor is back")
        with pytest.raises(ControlError, match="no such CPU: 99"):
            ask.override(99, 1_200_000)


def test_votes_end_with_the_guest_and_the_group_is_restored_after_a_while(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    before = governor(tree, 2)
    with DaemonProcess(uri, tree.root, release_after_s=0.3) as daemon:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        ends[0].close()
        daemon.wait_for_channel("dpdk-0", 0, "absent")
        wait_for(lambda: governor(tree, 2) == before, "the governor is back")


def test_a_guest_that_reconnects_is_served_again(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        ends[0].close()
        daemon.wait_for_channel("dpdk-0", 0, "absent")
        again = GuestEnd(ends[0].path)
        try:
            again.accept()
            assert again.request(0, Unit.SCALE_MIN) is Answer.ACK
        finally:
            again.close()


def test_in_observe_mode_requests_are_refused_and_nothing_is_written(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    before = tree_bytes(tree.root)
    with DaemonProcess(uri, tree.root, config="mode = 'observe'\n") as daemon:
        ends[0].accept()
        ends[0].connect_packet()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
        assert daemon.status()["daemon"]["mode"] == "observe"
        with (
            ControlClient(daemon.socket) as ask,
            pytest.raises(ControlError, match="observe mode"),
        ):
            ask.override(2, 1_200_000)
    assert tree_bytes(tree.root) == before


def test_a_reload_changes_limits_at_once_and_an_invalid_one_changes_nothing(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MAX) is Answer.ACK
        assert frequency(tree, 2) == 3_001_000
        good = daemon.config.read_text(encoding="utf-8")
        daemon.config.write_text("[bounds]\nmax_khz = '2GHz'\n" + good)
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: frequency(tree, 2) == 2_000_000, "the new limit")
        daemon.config.write_text("[bonds]\n" + good)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_log("did you mean 'bounds'")
        assert frequency(tree, 2) == 2_000_000


def test_a_reload_that_failed_half_way_succeeds_the_next_time(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    del ends
    with DaemonProcess(uri, tree.root, config='mode = "observe"\n') as daemon:
        journal = daemon.run_dir / "restore.json"
        journal.mkdir()  # cannot be read
        text = daemon.config.read_text(encoding="utf-8")
        daemon.config.write_text(text.replace("observe", "enforce"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_log("not reloaded")
        assert daemon.status()["daemon"]["mode"] == "observe"
        with DaemonProcess(uri, tree.root) as other:  # the tree is free
            assert other.status()["daemon"]["mode"] == "enforce"
        journal.rmdir()
        journal.write_text("no journal")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(lambda status: status["daemon"]["mode"] == "enforce")
        # It was checked before another file replaced it.
        assert journal.with_name("restore.json.unreadable").exists()


def test_an_override_that_failed_does_not_take_effect_later(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    del ends
    with DaemonProcess(uri, tree.root) as daemon:
        (daemon.run_dir / "restore.json").mkdir()  # nothing can be journalled
        with (
            ControlClient(daemon.socket) as client,
            pytest.raises(ControlError, match="CPU 5 cannot be set: cannot read"),
        ):
            client.override(5, 2_000_000)
        (cpu,) = [c for c in daemon.status()["cpus"] if c["pcpu"] == 5]
        assert cpu["override_khz"] is None


def test_a_second_daemon_on_the_same_tree_is_refused(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    del ends
    with DaemonProcess(uri, tree.root):
        other = DaemonProcess(uri, tree.root)
        other.launch()
        assert other.wait_until_ended() == 1
        assert "is locked by process" in other.log_text()
        assert "hint: " in other.log_text()


def test_a_second_daemon_in_the_same_run_directory_is_refused(
    directory: Path, tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    lay_out(directory / "other", cpus=2)
    with DaemonProcess(uri, tree.root) as daemon:
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        journal = (daemon.run_dir / "restore.json").read_bytes()
        other = DaemonProcess(uri, directory / "other")
        other.launch("--run-dir", str(daemon.run_dir))
        assert other.wait_until_ended() == 1
        assert str(daemon.run_dir) in other.log_text()
        assert (daemon.run_dir / "restore.json").read_bytes() == journal


def test_two_daemons_on_two_trees_run_side_by_side(
    directory: Path, tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    lay_out(directory / "other", cpus=2)
    empty = write_driver_file(directory / "empty.xml", [])
    with DaemonProcess(uri, tree.root), DaemonProcess(empty, directory / "other"):
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK


def test_the_configured_group_may_use_the_control_socket(
    tree: CpuTree, uri: str
) -> None:
    # Another one than the process's, where this user may choose one.
    group = next((it for it in grp.getgrall() if it.gr_gid != os.getgid()), None)
    if group is None or os.geteuid() != 0:
        group = grp.getgrgid(os.getgid())
    config = f'[control]\ngroup = "{group.gr_name}"\n'
    with DaemonProcess(uri, tree.root, config=config) as daemon:
        status = daemon.socket.stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (group.gr_gid, 0o660)
