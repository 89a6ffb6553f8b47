# SPDX-License-Identifier: Apache-2.0
"""A guest that sends garbage without end, and a whole daemon."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from tests.daemon.daemon_process import DaemonProcess
    from tests.daemon.libvirt_test_guests import GuestEnd

GARBAGE = b"\xff" * 464


def test_a_guest_that_sends_garbage_is_quarantined_until_its_channel_is_enabled(
    daemon: DaemonProcess, ends: list[GuestEnd]
) -> None:
    guest, other = ends

    def flood() -> None:
        with suppress(OSError):  # the daemon hung up
            while True:
                guest.peer.sendall(GARBAGE)

    flooding = threading.Thread(target=flood)
    flooding.start()
    channel = daemon.wait_for_channel("dpdk-0", 0, "quarantined")
    flooding.join()
    assert channel["reason"] == "sent garbage; closed for 10 s"
    assert channel["budget"] == 50_000
    assert other.request(1, Unit.SCALE_MIN) is Answer.ACK
    assert daemon.log_text().count("channel 0 is quarantined: sent garbage") == 1
    with ControlClient(daemon.socket) as client:
        client.switch_channel("dpdk-0", 0, enabled=True)
    daemon.wait_for_channel("dpdk-0", 0, "open")
    guest.accept()
    wait_for(
        lambda: guest.request(0, Unit.SCALE_MIN) is Answer.ACK, "the guest is served"
    )
