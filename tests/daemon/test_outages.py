# SPDX-License-Identifier: Apache-2.0
"""libvirtd hangs, dies and returns while guests send 1000 requests per second."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.daemon.libvirt_test_guests import tree_bytes
from tests.rig.guest import Guest, GuestSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.control.documents import Channel, Status
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig

RATE = 1000
OUTAGE_S = 1.5


@pytest.fixture
def guest(session_host: SessionHost) -> Iterator[Guest]:
    """Two vCPUs and two channels, on CPUs 0 and 1."""
    guest = session_host.start(
        GuestSpec(name="dpdk", vcpus=2, channels=(0, 1), pins={0: "0", 1: "1"})
    )
    yield guest
    guest.remove()


@pytest.fixture
def daemon(
    session_host: SessionHost, guest: Guest, tree: CpuTree
) -> Iterator[DaemonProcess]:
    """A daemon with both channels open and both clock groups taken."""
    with DaemonProcess(session_host.uri, tree.root, resync_s=1.0) as daemon:
        for number in (0, 1):
            daemon.wait_for_channel(guest.name, number, "open")
            guest.talker.run(f"open:{number}")
            guest.talker.run(f"connect:{number}")
        daemon.wait_for(
            lambda s: all(c["claimed"] for c in s["cpus"] if c["pcpu"] in (0, 1))
        )
        yield daemon


def test_no_answer_and_no_connection_is_lost_over_any_outage_of_libvirtd(
    session_host: SessionHost, guest: Guest, daemon: DaemonProcess
) -> None:
    libvirtd = session_host.libvirtd
    history = channel_events(daemon, guest)
    for number in (0, 1):
        guest.talker.run(f"flood:{number}:{RATE}")

    libvirtd.freeze()
    serve_for_a_while(daemon, guest)
    libvirtd.thaw()
    serve_for_a_while(daemon, guest)
    libvirtd.kill()
    daemon.wait_for(lambda s: not s["libvirt"]["connected"])
    assert daemon.status()["libvirt"]["stale_since"] is not None
    serve_for_a_while(daemon, guest)
    libvirtd.start()
    daemon.wait_for(lambda s: s["libvirt"]["connected"])
    libvirtd.restart()
    daemon.wait_for(lambda s: s["libvirt"]["reconnects_total"] >= 2)
    daemon.wait_for(lambda s: s["libvirt"]["connected"])
    assert daemon.status()["libvirt"]["stale_since"] is None

    for number in (0, 1):
        stats = guest.talker.stop(number)
        channel = counted(daemon, guest, number)
        # On a busy machine, many of all answers are late.
        unanswered = channel["late_total"] + channel["dropped_total"]
        assert stats.sent > 1000
        assert stats.answers + unanswered == stats.sent
        assert stats.nacks == 0
    assert channel_events(daemon, guest) == history


def serve_for_a_while(daemon: DaemonProcess, guest: Guest) -> None:
    """Let traffic run, as the duration is what is tested; requests are answered."""
    before = [counted(daemon, guest, number)["acks_total"] for number in (0, 1)]
    threading.Event().wait(OUTAGE_S)
    for number, acks in enumerate(before):

        def is_answered(_: Status, number: int = number, acks: int = acks) -> bool:
            return counted(daemon, guest, number)["acks_total"] > acks

        daemon.wait_for(is_answered)


def counted(daemon: DaemonProcess, guest: Guest, number: int) -> Channel:
    found = find_channel(daemon.status(), guest.name, number, "open")
    assert found
    return found


def channel_events(daemon: DaemonProcess, guest: Guest) -> list[str]:
    with ControlClient(daemon.socket) as client:
        return [
            event["text"]
            for event in client.events()
            if event["kind"] == "channel-state" and event["domain"] == guest.name
        ]


def test_repinning_during_an_outage_is_noticed_after_it(
    session_host: SessionHost, guest: Guest, daemon: DaemonProcess
) -> None:
    session_host.libvirtd.kill()
    daemon.wait_for(lambda s: not s["libvirt"]["connected"])
    session_host.libvirtd.start()
    guest.domain.pinVcpu(0, (False, True))
    daemon.wait_for(
        lambda s: [v["clock_group"] for v in s["domains"][0]["vcpus"]] == [1, 1]
    )


def test_a_frozen_libvirtd_does_not_delay_the_end(
    session_host: SessionHost, daemon: DaemonProcess, tree: CpuTree
) -> None:
    session_host.libvirtd.freeze()
    try:
        # A thread must hang in libvirt when the daemon is stopped.
        threading.Event().wait(1.2)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait_until_ended() == 0
    finally:
        session_host.libvirtd.thaw()
    governors = {
        value
        for path, value in tree_bytes(tree.root).items()
        if path.endswith("scaling_governor")
    }
    assert governors == {b"schedutil\n"}


def test_the_daemon_waits_for_a_libvirt_that_is_absent_at_the_start(
    session_host: SessionHost, guest: Guest, tree: CpuTree
) -> None:
    session_host.libvirtd.stop()
    with DaemonProcess(session_host.uri, tree.root) as daemon:
        daemon.wait_for_log("waiting for libvirt")
        status = daemon.status()
        assert not status["libvirt"]["connected"]
        assert status["libvirt"]["reason"]
        session_host.libvirtd.start()
        daemon.wait_for_channel(guest.name, 0, "open")
