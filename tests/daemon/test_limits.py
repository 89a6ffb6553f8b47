# SPDX-License-Identifier: Apache-2.0
"""More channels than a process may have open files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    guest_ends,
    write_driver_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.control.documents import Channel, Status
    from orchestrator.power.sysfs import CpuTree

CHANNELS = 40


@pytest.fixture
def many(directory: Path) -> Iterator[list[GuestEnd]]:
    with guest_ends(directory, CHANNELS) as ends:
        yield ends


@pytest.fixture
def uri(directory: Path, many: list[GuestEnd]) -> str:
    paths = {number: end.path for number, end in enumerate(many)}
    domain = DriverDomain(name="dpdk-0", pins=("2",), paths=paths)
    return write_driver_file(directory / "node.xml", [domain])


def channels(status: Status, state: str) -> list[Channel]:
    return [c for d in status["domains"] for c in d["channels"] if c["state"] == state]


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(
    tree: CpuTree, uri: str
) -> None:
    daemon = DaemonProcess(uri, tree.root)
    daemon.wrapper = ("prlimit", "--nofile=30:1000")
    with daemon:
        daemon.wait_for(lambda s: len(channels(s, "open")) == CHANNELS)


def test_channels_beyond_the_limit_show_the_cause_and_the_others_are_served(
    tree: CpuTree, uri: str, many: list[GuestEnd]
) -> None:
    daemon = DaemonProcess(uri, tree.root)
    daemon.wrapper = ("prlimit", "--nofile=56:56")
    with daemon:
        status = daemon.wait_for(
            lambda s: (
                len(channels(s, "open") + channels(s, "refused")) == CHANNELS and s
            )
        )
        assert isinstance(status, dict)
        missing = "too many open files: the limit is 56, raise LimitNOFILE"
        assert {c["reason"] for c in channels(status, "refused")} == {missing}
        served = channels(status, "open")
        assert served
        end = many[served[0]["number"]]
        end.accept()
        assert end.request(0, Unit.SCALE_MIN) is Answer.ACK
