# SPDX-License-Identifier: Apache-2.0
"""Nothing outside of the daemon keeps it from answering and from ending in order."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.power.journal import JOURNAL_NAME
from tests.daemon.daemon_process import DaemonProcess

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree


DEADLINE_S = 60.0


def test_a_log_that_is_not_read_delays_neither_the_api_nor_the_end(
    tree: CpuTree, uri: str
) -> None:
    daemon = DaemonProcess(uri, tree.root)
    os.mkfifo(daemon.log)
    unread = os.open(daemon.log, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(unread, fcntl.F_SETPIPE_SZ, 4_096)
    os.write(unread, bytes(4_096))  # full: the daemon's first line does not fit
    try:
        with daemon:
            send_garbage(daemon.run_dir / READ_ONLY_SOCKET)
            with ControlClient(daemon.socket) as client:
                client.override(2, 2_000_000)
                assert client.cpu(2)["claimed"]
            assert daemon.stop() == 0
            assert tree.read("devices/system/cpu/cpu2/cpufreq/scaling_governor") == (
                "schedutil"
            )
            daemon.log.unlink()
            daemon.log.touch()
    finally:
        os.close(unread)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_run_directory_of_another_user_is_refused_and_its_journal_not_replayed(
    tree: CpuTree, uri: str
) -> None:
    path = "devices/system/cpu/cpufreq/policy2/scaling_governor"
    (tree.root / path).write_text("userspace\n")
    original = {"path": path, "value": "powersave\n", "ours": "userspace"}
    document = {
        "schema": 1,
        "tree": tree.identity(),
        "boot_id": tree.boot_id(),
        "groups": {"2": [original]},
    }
    daemon = DaemonProcess(uri, tree.root)
    journal = daemon.run_dir / JOURNAL_NAME
    journal.write_text(json.dumps(document))
    for foreign in (daemon.run_dir, journal):
        os.chown(foreign, 1_234, -1)
        daemon.launch()
        assert daemon.wait_until_ended(timeout_s=DEADLINE_S) == 1
        os.chown(foreign, 0, -1)
        error, hint, *_ = daemon.log.read_text().splitlines()[-2:]
        assert error.endswith(f"{foreign} belongs to user 1234")
        assert hint == "hint: use a directory of user 0, or run as user 1234"
        assert tree.read(path) == "userspace"
    with daemon:
        assert tree.read(path) == "powersave"


def test_a_journal_that_was_removed_is_written_again_before_the_next_take(
    tree: CpuTree, uri: str
) -> None:
    with (
        DaemonProcess(uri, tree.root) as daemon,
        ControlClient(daemon.socket) as client,
    ):
        client.override(2, 2_000_000)
        assert client.cpu(2)["claimed"]
        (daemon.run_dir / JOURNAL_NAME).unlink()
        client.override(3, 2_000_000)
        assert client.cpu(3)["claimed"]
        journal = json.loads((daemon.run_dir / JOURNAL_NAME).read_text())
        assert {"2", "3"} <= journal["groups"].keys()


def send_garbage(path: Path) -> None:
    for _ in range(100):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"\x16\x03\x01\r\n\r\n")
            sock.recv(1)
