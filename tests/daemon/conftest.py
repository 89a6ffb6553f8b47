# SPDX-License-Identifier: Apache-2.0
"""One domain of the test driver, its guest ends, and a simulated CPU tree."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from tests.daemon.daemon_process import CHECKOUT, DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    guest_ends,
    write_driver_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.libvirtd import SystemHost

STEPS = (3_001_000, 3_000_000, 2_000_000, 1_200_000)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def tree(directory: Path) -> CpuTree:
    """Eight simulated CPUs, each a clock group of its own."""
    lay_out(directory / "sys", cpus=8, steps_khz=STEPS)
    return CpuTree(directory / "sys")


@pytest.fixture
def ends(directory: Path) -> Iterator[list[GuestEnd]]:
    """The guest's ends of the domain's two channels."""
    with guest_ends(directory, 2) as ends:
        yield ends


@pytest.fixture
def uri(directory: Path, ends: list[GuestEnd]) -> str:
    """The domain dpdk-0: vCPU 0 on CPU 2, vCPU 1 on CPU 3, channels 0 and 1."""
    paths = {number: end.path for number, end in enumerate(ends)}
    domain = DriverDomain(name="dpdk-0", pins=("2", "3"), paths=paths)
    return write_driver_file(directory / "node.xml", [domain])


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vmpower-guest.pyz`, as built by `make guest`."""
    output = tmp_path_factory.mktemp("guest") / "vmpower-guest.pyz"
    program = CHECKOUT / "scripts" / "build_guest.py"
    subprocess.run([sys.executable, program, output], check=True, capture_output=True)
    return output


@pytest.fixture
def daemon(uri: str, tree: CpuTree, ends: list[GuestEnd]) -> Iterator[DaemonProcess]:
    """A daemon with both channels open, which releases clock groups at once."""
    with DaemonProcess(uri, tree.root, release_after_s=0.3) as daemon:
        for number, end in enumerate(ends):
            daemon.wait_for_channel("dpdk-0", number, "open")
            end.accept()
        yield daemon


@pytest.fixture
def system_daemon(system_host: SystemHost, tree: CpuTree) -> Iterator[DaemonProcess]:
    """A daemon of the system's libvirt, which releases clock groups soon."""
    with DaemonProcess(
        system_host.uri, tree.root, resync_s=1.0, release_after_s=0.5
    ) as daemon:
        daemon.wait_for(lambda status: status["libvirt"]["connected"])
        yield daemon
