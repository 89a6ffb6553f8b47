# SPDX-License-Identifier: Apache-2.0
"""A domain of each template, created by `domain add --start`, is served at once."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import libvirt
import pytest

from cli.app import app
from examples.guests.images import CMDLINE, build_dpdk_image
from examples.guests.kernel import fetch_kernel
from tests.cli.commands import new_runner
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.console import Console
from tests.rig.dpdk import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.control.documents import Channel, Status
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

NAME = "vmpower-added"
WITHOUT_HARDWARE = {
    "minimal": (),
    "nfv": ("--network", "user", "--set", "hugepage-mib=none", "--numa-node", "0"),
    "cloud": ("--network", "user", "--set", "cache=writeback", "--mode", "enforce"),
}
"""No huge pages, switch, or libvirt network, which this machine may not have."""


@pytest.fixture
def added(system_host: SystemHost) -> Iterator[str]:
    yield NAME
    for domain in system_host.connection.listAllDomains():
        if domain.name() == NAME:
            with suppress(libvirt.libvirtError):  # its guest ends by itself
                domain.destroy()
            domain.undefine()


@pytest.mark.parametrize("template", WITHOUT_HARDWARE)
def test_dpdk_is_served_in_a_domain_of_each_template(
    template: str, system_host: SystemHost, tree: CpuTree, added: str
) -> None:
    console = Console(system_host.guests / f"{template}.log")
    with DaemonProcess(system_host.uri, tree.root) as daemon:
        result = new_runner().invoke(
            app,
            [
                *("--connect", system_host.uri, "domain", "add", added, "--start"),
                *("--template", template, "--type", "qemu", "--vcpus", "2"),
                *("--memory", "512", "--pin", "0,1", "--emulator-pin", "0-1"),
                *("--kernel", str(system_host.publish(fetch_kernel().image))),
                *("--initrd", str(system_host.publish(build_dpdk_image()))),
                *("--cmdline", CMDLINE, "--console", str(console.path)),
                *WITHOUT_HARDWARE[template],
                *disk(system_host, template),
            ],
        )
        assert result.exit_code == 0, result.output
        channel = daemon.wait_for(answered)
        assert channel
        assert (channel["nacks_total"], channel["errors_total"]) == (0, 0)
        assert console.wait_for("Test ") == "Test OK"


def answered(status: Status) -> Channel | None:
    """Whether all of DPDK's requests were answered, or dropped as late."""
    channel = find_channel(status, NAME, 0)
    done = channel and channel["acks_total"] + channel["late_total"] == len(UNITS)
    return channel if done else None


def disk(host: SystemHost, template: str) -> tuple[str, ...]:
    """An empty disk for a guest that requires one."""
    if template != "cloud":
        return ()
    image = host.guests / "added.img"
    image.write_bytes(bytes(1 << 20))
    if os.geteuid() == 0:
        shutil.chown(image, "libvirt-qemu")
    return ("--disk", str(image))
