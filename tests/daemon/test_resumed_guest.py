# SPDX-License-Identifier: Apache-2.0
"""A real guest's vote over restarts of the daemon, of libvirtd and of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    PolicyKind,
    PolicyPacket,
    WorkloadLevel,
    encode_policy,
)
from tests.daemon.daemon_process import DaemonProcess
from tests.rig.guest import GuestSpec
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from orchestrator.control.documents import Vcpu
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig

LOWEST = 1_200_000
LOW = PolicyPacket(policy=PolicyKind.WORKLOAD, workload=WorkloadLevel.LOW, num_vcpu=1)
CLOCK = "devices/system/cpu/cpufreq/policy0/scaling_cur_freq"


def vcpu_of(daemon: DaemonProcess, guest: Guest) -> Vcpu:
    (vcpu,) = daemon.domain(guest.name)["vcpus"]
    return vcpu


def test_a_vote_is_resumed_in_the_same_run_only(
    session_host: SessionHost, tree: CpuTree
) -> None:
    guest = session_host.start(GuestSpec(name="kept", pins={0: "0"}))
    with DaemonProcess(session_host.uri, tree.root) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open")
        guest.talker.run("open:0")
        guest.talker.run("connect:0")
        guest.talker.run("send:0:4")
        wait_for(lambda: tree.read_khz(CLOCK) == LOWEST, "the lowest frequency")

        daemon.stop()
        session_host.libvirtd.restart()  # IDs of domains that run do not change
        daemon.start()
        wait_for(lambda: tree.read_khz(CLOCK) == LOWEST, "the vote is resumed")
        daemon.wait_for_channel(guest.name, 0, "open")
        assert vcpu_of(daemon, guest)["requested_khz"] == LOWEST

        # A port that the guest closed meanwhile ends its vote.
        daemon.stop()
        guest.talker.run("close:0")
        daemon.start()
        daemon.wait_for_channel(guest.name, 0, "open")
        wait_for(
            lambda: vcpu_of(daemon, guest)["requested_khz"] is None, "the vote ended"
        )

        # Another run of the domain has no vote of an earlier one.
        guest.talker.run("open:0")
        guest.talker.run("connect:0")
        guest.talker.run("send:0:4")
        wait_for(lambda: tree.read_khz(CLOCK) == LOWEST, "the lowest frequency")
        daemon.stop()
        guest.destroy()
        guest.start()
        daemon.start()
        daemon.wait_for_channel(guest.name, 0, "open")
        assert vcpu_of(daemon, guest)["requested_khz"] is None
    guest.remove()


def test_a_policy_of_the_guest_goes_with_a_saved_domain(
    session_host: SessionHost, tree: CpuTree
) -> None:
    guest = session_host.start(GuestSpec(name="saved", pins={0: "0"}))
    image = str(session_host.guests / "image")
    installed = "policy workload of guest channel 0 is in force"
    with DaemonProcess(session_host.uri, tree.root) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open")
        guest.talker.run("open:0")
        guest.talker.run("connect:0")
        guest.talker.run(f"raw:0:{encode_policy(LOW).hex()}")
        wait_for(lambda: "workload low" in guest.domain.XMLDesc(), "it is noted")
        guest.domain.save(image)
        wait_for(lambda: daemon.domain(guest.name)["policies"] == [], "it ended here")
        session_host.connection.restore(image)
        daemon.wait_for_log(f"{installed} again")
        (policy,) = daemon.domain(guest.name)["policies"]
        assert (policy["source"], policy["channel"]) == ("guest", 0)

        # It ends with the program that sent it, and nothing is left for the next time.
        guest.domain.reset(0)
        wait_for(lambda: "workload low" not in guest.domain.XMLDesc(), "it is removed")
        assert daemon.domain(guest.name)["policies"] == []
        # A reset closes the port, too: either may be reported first.
        wait_for(
            lambda: (
                "channel 0 ended: the guest rebooted" in daemon.log_text()
                or "channel 0 ended: the guest closed its port" in daemon.log_text()
            ),
            "the end of the policy",
        )
    guest.remove()
