# SPDX-License-Identifier: Apache-2.0
"""An unmodified Linux guest steers its frequency with its own cpufreq driver."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.daemon.conftest import STEPS
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.p_states import CHANNEL, give_p_states, p_state_guest
from tests.rig.shell import GuestShell
from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.control.documents import Channel, Status
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig
logger = logging.getLogger(__name__)

TURBO, NOMINAL, MIDDLE, LOWEST = STEPS
HOST = "devices/system/cpu/cpufreq/policy{}/{}"
GUEST = "/sys/devices/system/cpu/cpufreq/policy{}/{}"
WRITES = 6_000
FLOOD = f"""\
read begin rest </proc/uptime
cd /sys/devices/system/cpu/cpufreq/policy0
count=0
while [ $count -lt {WRITES // 2} ]; do
    echo {MIDDLE} >scaling_setspeed; echo {LOWEST} >scaling_setspeed
    count=$((count + 1))
done
read end rest </proc/uptime
echo took $begin $end"""


@pytest.fixture
def guest(system_host: SystemHost, tree: CpuTree) -> Iterator[Guest]:
    """A defined guest with P-states, whose two vCPUs are on CPUs 0 and 1."""
    guest = system_host.define(p_state_guest("linux", pins={0: "0", 1: "1"}))
    change = give_p_states(guest, tree)
    assert (change.vcpus, change.warnings) == ((0, 1), ())
    yield guest
    guest.remove()


@pytest.fixture
def daemon(system_daemon: DaemonProcess) -> DaemonProcess:
    return system_daemon


def use_governor(shell: GuestShell, governor: str) -> None:
    for vcpu in (0, 1):
        path = GUEST.format(vcpu, "scaling_governor")
        assert shell.run(f"echo {governor} >{path}") == (0, "")


def request(shell: GuestShell, vcpu: int, khz: int) -> None:
    path = GUEST.format(vcpu, "scaling_setspeed")
    # The driver writes nothing if it has this frequency already.
    other = LOWEST if khz == MIDDLE else MIDDLE
    assert shell.run(f"echo {other} >{path}; echo {khz} >{path}") == (0, "")


def wait_for_khz(tree: CpuTree, *khz: int, timeout_s: float = DEADLINE_S) -> None:
    def are_set() -> bool:
        numbers = range(len(khz))
        return [
            (tree.read(HOST.format(n, "scaling_governor")), tree.read_khz(_clock(n)))
            for n in numbers
        ] == [("userspace", it) for it in khz]

    wait_for(are_set, f"{khz} kHz", timeout_s=timeout_s)


def request_until_set(shell: GuestShell, tree: CpuTree, *khz: int) -> None:
    """Request frequencies after a flood: some may be lost as long as it is processed.

    A vCPU whose request was lost has the highest step until its next one.
    """

    def are_set() -> bool:
        for vcpu, it in enumerate(khz):
            request(shell, vcpu, it)
        with contextlib.suppress(TimeoutError):
            wait_for_khz(tree, *khz, timeout_s=2.0)
            return True
        return False

    wait_for(are_set, f"{khz} kHz after a flood")


def _clock(number: int) -> str:
    return HOST.format(number, "scaling_cur_freq")


def channel_of(daemon: DaemonProcess, guest: Guest) -> Channel:
    found = find_channel(daemon.status(), guest.name, CHANNEL)
    assert found
    return found


def wait_for_requests(daemon: DaemonProcess, guest: Guest, more_than: int) -> int:
    wait_for(
        lambda: channel_of(daemon, guest)["requests_total"] > more_than,
        f"more than {more_than} requests",
    )
    return channel_of(daemon, guest)["requests_total"]


def test_every_event_of_a_domain_is_followed(
    daemon: DaemonProcess, guest: Guest, system_host: SystemHost, tree: CpuTree
) -> None:
    guest.start()
    assert daemon.wait_for_channel(guest.name, CHANNEL, "open")["kind"] == "p-states"
    with GuestShell(guest) as shell:
        follow_its_default_governor(daemon, guest, shell)
        use_governor(shell, "userspace")
        request(shell, 0, LOWEST)
        request(shell, 1, NOMINAL)
        wait_for_khz(tree, LOWEST, NOMINAL)
        follow_a_pause(daemon, guest, shell, tree)
        # The connection outlives libvirt.
        system_host.libvirtd.restart()
        daemon.wait_for(lambda s: s["libvirt"]["reconnects_total"] >= 1)
        request(shell, 0, LOWEST)
        wait_for_khz(tree, LOWEST, LOWEST)
        assert daemon.stop() == 0
        daemon.start()
        daemon.wait_for_channel(guest.name, CHANNEL, "open")
        request(shell, 0, LOWEST)
        request(shell, 1, MIDDLE)
        wait_for_khz(tree, LOWEST, MIDDLE)
        assert daemon.domain(guest.name)["problems"] == []
    follow_a_restore(daemon, guest, system_host, tree)
    follow_a_reset(daemon, guest)
    follow_its_end(daemon, guest, tree)


def follow_its_default_governor(
    daemon: DaemonProcess, guest: Guest, shell: GuestShell
) -> None:
    """Nothing was done in the guest: schedutil requests by itself."""
    governor = shell.run(f"cat {GUEST.format(0, 'scaling_governor')}")
    assert governor == (0, "schedutil\n")
    count = wait_for_requests(daemon, guest, 0)
    shell.run("count=0; while [ $count -lt 30000 ]; do count=$((count + 1)); done")
    wait_for_requests(daemon, guest, count)


def follow_a_pause(
    daemon: DaemonProcess, guest: Guest, shell: GuestShell, tree: CpuTree
) -> None:
    """What was requested before it is not certain to be the last request."""
    guest.domain.suspend()
    wait_for_state(daemon, guest, "paused")
    guest.domain.resume()
    wait_for_state(daemon, guest, "running")
    wait_for_khz(tree, TURBO, TURBO)
    request(shell, 1, LOWEST)
    wait_for_khz(tree, TURBO, LOWEST)


def wait_for_state(daemon: DaemonProcess, guest: Guest, state: str) -> None:
    def is_shown(status: Status) -> bool:
        states = [d["state"] for d in status["domains"] if d["name"] == guest.name]
        return states == [state]

    daemon.wait_for(is_shown)


def follow_a_restore(
    daemon: DaemonProcess, guest: Guest, system_host: SystemHost, tree: CpuTree
) -> None:
    """It is another QEMU, with the same guest and its governor."""
    image = system_host.guests / "saved"
    guest.domain.save(str(image))
    daemon.wait_for_channel(guest.name, CHANNEL, "absent")
    system_host.connection.restore(str(image))
    daemon.wait_for_channel(guest.name, CHANNEL, "open")
    with GuestShell(guest, is_ready=True) as shell:
        request(shell, 0, LOWEST)
        request(shell, 1, LOWEST)
        wait_for_khz(tree, LOWEST, LOWEST)


def follow_a_reset(daemon: DaemonProcess, guest: Guest) -> None:
    """The next boot requests by itself, over the same connection."""
    guest.domain.reset(0)
    daemon.wait_for_log("guest rebooted")
    wait_for_requests(daemon, guest, channel_of(daemon, guest)["requests_total"])
    assert channel_of(daemon, guest)["state"] == "open"


def follow_its_end(daemon: DaemonProcess, guest: Guest, tree: CpuTree) -> None:
    guest.destroy()
    daemon.wait_for_channel(guest.name, CHANNEL, "absent")

    def are_restored() -> bool:
        names = [HOST.format(number, "scaling_governor") for number in (0, 1)]
        return {tree.read(name) for name in names} == {"schedutil"}

    wait_for(are_restored, "the governors are restored")


@pytest.mark.parametrize("stopped", ["nothing", "monitor", "main", "both", "daemon"])
def test_a_guest_never_waits(
    daemon: DaemonProcess,
    guest: Guest,
    tree: CpuTree,
    stopped: str,
) -> None:
    guest.start()
    daemon.wait_for_channel(guest.name, CHANNEL, "open")
    with GuestShell(guest) as shell:
        use_governor(shell, "userspace")
        # The governor before may have requested the lowest, too: what is counted below
        # is everything only after another frequency.
        for khz in (MIDDLE, LOWEST):
            request(shell, 0, khz)
            request(shell, 1, khz)
            wait_for_khz(tree, khz, khz)
        before = channel_of(daemon, guest)["requests_total"]
        pids = {
            "nothing": [],
            "monitor": [daemon.monitor_pid],
            "main": [daemon.pid],
            "both": [daemon.monitor_pid, daemon.pid],
            "daemon": [],
        }[stopped]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        if stopped == "daemon":
            assert daemon.stop() == 0
        ran = shell.run(FLOOD)  # it ends, whatever is stopped
        assert ran.status == 0
        _, begin, end = ran.printed.split()
        took_s = float(end) - float(begin)
        logger.info("%s stopped: %d writes in %.2f s", stopped, WRITES, took_s)
        for pid in pids if stopped != "monitor" else ():
            os.kill(pid, signal.SIGCONT)
        if stopped == "daemon":
            daemon.start()
        daemon.wait_for_channel(guest.name, CHANNEL, "open")
        if stopped in ("nothing", "main"):
            # On a busy machine the socket is full now and then, and some are lost.
            count = wait_for_requests(daemon, guest, before + WRITES // 10)
            assert count <= before + WRITES
        elif stopped != "daemon":
            # vCPU 0 may have written on after a stopped monitor was replaced.
            wait_for(lambda: tree.read_khz(_clock(1)) == TURBO, "the highest step")
        request_until_set(shell, tree, LOWEST, LOWEST)
