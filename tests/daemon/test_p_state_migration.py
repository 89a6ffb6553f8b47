# SPDX-License-Identifier: Apache-2.0
"""A guest with P-states migrates between two libvirtds, live.

Both are on this machine, so the second one has other paths, which its XML names. Its
host has other steps, and no daemon while the guest arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.p_states import CHANNEL, GUEST_TREE, give_p_states, p_state_guest
from tests.rig.shell import GuestShell
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SessionHost, SystemHost

pytestmark = pytest.mark.rig

OTHER_STEPS = (2_601_000, 2_600_000, 2_200_000, 1_800_000, 1_000_000)
"""Of the second host; the first one has 3001, 3000, 2000 and 1200 MHz."""
SET_SPEED = f"{GUEST_TREE}/policy0/scaling_setspeed"
MANY_REQUESTS = f"""\
count=0
while [ $count -lt 1000 ]; do
    echo 2000000 >{SET_SPEED} && echo 1200000 >{SET_SPEED} || exit 1
    count=$((count + 1))
done
"""
FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)


def test_a_guest_s_requests_are_obeyed_on_the_host_that_it_has_migrated_to(
    system_host: SystemHost, session_host: SessionHost, tree: CpuTree, directory: Path
) -> None:
    other = lay_out_other(directory)
    guest = system_host.define(p_state_guest("moving", pins={0: "0"}))
    give_p_states(guest, tree)
    guest.start()
    with DaemonProcess(system_host.uri, tree.root) as daemon:
        daemon.wait_for_channel(guest.name, CHANNEL, "open")
        with GuestShell(guest) as shell:
            shell.run(f"echo userspace >{GUEST_TREE}/policy0/scaling_governor")
            # The second one differs from what the guest has had since it booted.
            for khz in (2_000_000, 1_200_000):
                request(shell, khz)
                wait_for_clock(tree, khz)
        copy(guest, session_host, "vmlinuz*", "*.cpio")
        with pytest.raises(libvirt.libvirtError, match=r"\.aml"):
            migrate(guest, session_host)
        copy(guest, session_host, "*.aml")
        moved = migrate(guest, session_host)
        daemon.wait_for(lambda status: not find_channel(status, guest.name, CHANNEL))
        wait_for_clock(tree, 3_001_000)
    with GuestShell(moved, is_ready=True) as shell:
        # No daemon is there. A serial port that waited would stop the guest here.
        assert shell.run(MANY_REQUESTS).status == 0
        with DaemonProcess(session_host.uri, other.root) as daemon:
            daemon.wait_for_channel(moved.name, CHANNEL, "open")
            request(shell, 2_000_000)
            wait_for_clock(other, 2_200_000)
            request(shell, 3_001_000)
            wait_for_clock(other, 2_601_000)
            request(shell, 1_200_000)
            wait_for_clock(other, 1_800_000)


def lay_out_other(directory: Path) -> CpuTree:
    root = directory / "other"
    lay_out(root, cpus=8, steps_khz=OTHER_STEPS)
    return CpuTree(root)


def request(shell: GuestShell, khz: int) -> None:
    """Let the guest's driver request a frequency, one of its own table."""
    ran = shell.run(f"echo {khz} >{SET_SPEED}")
    assert ran.status == 0, ran.printed


def wait_for_clock(tree: CpuTree, khz: int) -> None:
    file = "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    wait_for(lambda: tree.read_khz(file) == khz, f"CPU 0 runs at {khz} kHz")


def copy(guest: Guest, host: SessionHost, *patterns: str) -> None:
    """Copy files that QEMU reads at its start: libvirt does not."""
    for pattern in patterns:
        for path in guest.host.directory.glob(pattern):
            host.publish(path)


def migrate(guest: Guest, host: SessionHost) -> Guest:
    """Migrate a guest live to another host; return it as a guest there.

    Raises:
        libvirt.libvirtError: it stays where it is.
    """
    here, there = str(guest.host.directory), str(host.directory)
    flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE
    xml = guest.domain.XMLDesc(flags).replace(here, there)
    parameters = {
        libvirt.VIR_MIGRATE_PARAM_URI: "tcp:127.0.0.1",
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: xml,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: xml,
    }
    guest.domain.migrate3(host.connection, parameters, FLAGS)
    return host.adopt(guest)
