# SPDX-License-Identifier: Apache-2.0
"""The history of a real daemon: what its guests requested, over stops and damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError
from orchestrator.history.ranges import Range
from orchestrator.history.store import HISTORY_NAME, HistoryStore
from tests.daemon.daemon_process import DaemonProcess
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.history.ranges import Found
    from orchestrator.power.sysfs import CpuTree
    from tests.daemon.libvirt_test_guests import GuestEnd


def read(directory: Path) -> Found:
    store = HistoryStore(directory / HISTORY_NAME, max_bytes=10**8, max_age_s=10**8)
    return store.read(Range(0.0, 1e12, 1e12))


def request(daemon: DaemonProcess, ends: list[GuestEnd], times: int) -> int:
    """Send requests; return how many were counted at least.

    A busy machine repeats some, which may be counted later.
    """
    ends[0].accept()
    ends[0].connect_packet()
    for _ in range(times):
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK

    def counted() -> int:
        channel = daemon.domain("dpdk-0")["channels"][0]
        is_settled = channel["acks_total"] >= times
        return channel["requests_total"] if is_settled else 0

    return wait_for(counted, "the answers are counted")


def test_requests_and_events_are_kept_over_restarts(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root) as daemon:
        directory = daemon.run_dir / "history"
        first = request(daemon, ends, 3)
        daemon.stop()
        (kept,) = read(directory).domains
        assert kept.name == "dpdk-0"
        assert kept.requests.total >= first
        assert read(directory).events["channel-state"] > 0
        daemon.start()
        second = request(daemon, ends, 2)
        # What is kept of earlier runs is served at once.
        with ControlClient(daemon.socket) as client:
            served = client.history(domain="dpdk-0")
            (domain,) = served["domains"]
            assert (domain["part"], domain["requests_total"]) == (
                0,
                kept.requests.total,
            )
            assert served["problem"] is None
            with pytest.raises(ControlError, match="no such domain: 'nobody'"):
                client.history(domain="nobody")
            with pytest.raises(ControlError, match="since must be before until"):
                client.history(since="2026-01-02T00:00:00Z", until="2026-01-01T00:00Z")
            with pytest.raises(ControlError, match="too many parts"):
                client.history(since="2020-01-01T00:00:00Z", step=1)
        daemon.stop()
        (both,) = read(directory).domains
        assert both.requests.total >= kept.requests.total + second


def test_a_damaged_file_is_set_aside_and_no_reason_to_fail(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    process = DaemonProcess(uri, tree.root)
    directory = process.run_dir / "history"
    directory.mkdir()
    (directory / HISTORY_NAME).write_bytes(b"damaged" * 1000)
    with process as daemon:
        counted = request(daemon, ends, 1)
        daemon.stop()
        assert (directory / f"{HISTORY_NAME}.unreadable").stat().st_size == 7000
        assert read(directory).domains[0].requests.total >= counted
        assert "the history could not be used: set aside as" in daemon.log_text()


def test_a_directory_that_cannot_be_used_is_reported_and_no_reason_to_fail(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    config = '[history]\ndirectory = "/proc/vmpower"\n'
    with DaemonProcess(uri, tree.root, config=config) as daemon:
        request(daemon, ends, 1)
        daemon.stop()
        assert "the history is incomplete: cannot write /proc/vmpower" in (
            daemon.log_text()
        )


def test_a_history_that_is_switched_off_is_an_error_that_names_the_option(
    tree: CpuTree, uri: str, ends: list[GuestEnd]
) -> None:
    with DaemonProcess(uri, tree.root, config="[history]\nenabled = false\n") as daemon:
        request(daemon, ends, 1)
        wait_for(lambda: daemon.status()["domains"], "the domain is known")
        with (
            ControlClient(daemon.socket) as client,
            pytest.raises(ControlError, match="no history is kept") as caught,
        ):
            client.history()
        assert "enabled = true" in caught.value.hint
        daemon.stop()
        assert not (daemon.run_dir / "history").exists()
