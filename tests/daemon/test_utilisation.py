# SPDX-License-Identifier: Apache-2.0
"""A real guest without an agent: its frequency follows its load."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from cli.app import app
from tests.cli.commands import new_runner
from tests.daemon.daemon_process import DaemonProcess
from tests.rig.guest import GuestSpec
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

CLOCK = "devices/system/cpu/cpufreq/policy0/scaling_cur_freq"
GOVERNOR = "devices/system/cpu/cpufreq/policy0/scaling_governor"
MIN, MAX = 1_200_000, 3_001_000
POLICY = "utilisation up-above=0.35 down-below=0.3 down-after-samples=2 period-s=0.25"
"""Far from a busy guest (1) and an idle one (0.02), because tests share the machine."""
_HIGHEST_PRIORITY = -20
SPIN_S = 2
TIMEOUT_S = 240.0


def process_of(guest: Guest) -> int:
    """Return the process ID of a guest's QEMU."""
    return int(Path(f"/run/libvirt/qemu/{guest.name}.pid").read_text())


def prioritize(guest: Guest) -> None:
    """Let a busy guest use its CPU whole, however busy the machine is."""
    process = Path(f"/proc/{process_of(guest)}")
    for thread in (process / "task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # QEMU's workers come and go
            os.setpriority(os.PRIO_PROCESS, int(thread.name), _HIGHEST_PRIORITY)
    # The kernel may schedule sessions as groups with priorities, see sched(7).
    with contextlib.suppress(FileNotFoundError):
        (process / "autogroup").write_text(f"{_HIGHEST_PRIORITY}", encoding="ascii")


def wants(daemon: DaemonProcess, guest: Guest) -> list[int | None]:
    """Return what the only policy of a guest requests for its vCPUs."""
    (policy,) = daemon.domain(guest.name)["policies"]
    return [want["khz"] for want in policy["wants"]]


@contextlib.contextmanager
def busy(guest: Guest) -> Iterator[None]:
    """Keep the vCPU of a guest busy, however long the daemon needs to notice it."""
    enough = Event()

    def spin() -> None:
        while not enough.is_set():
            guest.talker.run(f"spin:{SPIN_S * 1000}")

    load = Thread(target=spin)
    load.start()
    try:
        yield
    finally:
        enough.set()
        load.join()


def set_policy(uri: str, *arguments: str) -> None:
    done = new_runner().invoke(app, ("--connect", uri, "domain", "set", *arguments))
    assert done.exit_code == 0, done.output


def test_the_frequency_follows_the_load_of_a_guest_without_agent_or_channel(
    system_host: SystemHost, tree: CpuTree
) -> None:
    spec = GuestSpec(name="web", channels=(), pins={0: "0"})
    guest = system_host.start(spec)
    before = tree.read(GOVERNOR)

    def wait_for_frequency(khz: int) -> None:
        wait_for(lambda: tree.read_khz(CLOCK) == khz, f"{khz} kHz", timeout_s=TIMEOUT_S)

    try:
        guest.talker.run("say:up")
        prioritize(guest)
        with DaemonProcess(system_host.uri, tree.root, release_after_s=0.3) as daemon:
            daemon.wait_for(lambda status: len(status["domains"]) == 1)
            assert tree.read(GOVERNOR) == before
            # The daemon is notified by libvirt's event: no resync is due soon.
            set_policy(system_host.uri, guest.name, "--live", "--policy", POLICY)
            wait_for_frequency(MIN)
            with busy(guest):
                wait_for_frequency(MAX)
                wait_for(lambda: wants(daemon, guest) == [MAX], "the policy's request")
            (policy,) = daemon.domain(guest.name)["policies"]
            assert policy["source"] == "metadata"
            wait_for_frequency(MIN)
            set_policy(system_host.uri, guest.name, "--live", "--unset", "policy")
            wait_for(lambda: tree.read(GOVERNOR) == before, "the governor")
    finally:
        guest.remove()


RULE = """
[[policy]]
match = "web-*"
kind = "utilisation"
up_above = 0.08
down_below = 0.06
down_after_samples = 2
period_s = 0.25
"""


def test_a_qemu_that_hangs_does_not_affect_policies_of_other_guests(
    system_host: SystemHost, tree: CpuTree
) -> None:
    """Both are sampled with one call, which hangs because of one of them."""
    guests = [
        system_host.start(GuestSpec(name=f"web-{cpu}", channels=(), pins={0: str(cpu)}))
        for cpu in (0, 1)
    ]
    process = process_of(guests[1])

    def wait_for_frequency(khz: int) -> None:
        wait_for(lambda: tree.read_khz(CLOCK) == khz, f"{khz} kHz", timeout_s=TIMEOUT_S)

    try:
        for guest in guests:
            guest.talker.run("say:up")
            prioritize(guest)
        with DaemonProcess(system_host.uri, tree.root, config=RULE):
            wait_for_frequency(MIN)
            os.kill(process, signal.SIGSTOP)
            with busy(guests[0]):
                wait_for_frequency(MAX)
            wait_for_frequency(MIN)
            os.kill(process, signal.SIGCONT)
    finally:
        os.kill(process, signal.SIGCONT)
        for guest in guests:
            guest.remove()
