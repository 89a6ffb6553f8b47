# SPDX-License-Identifier: Apache-2.0
"""What real guests do with P-states: DPDK's own programs, and Linux's governors.

The guests have a kernel of Debian, DPDK as Debian builds it, and nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from examples.guests.packages import UnavailableError
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.dpdk import (
    INTERFACE,
    cpufreq_test_command,
    dpdk_p_state_guest,
    l3fwd_command,
)
from tests.rig.p_states import CHANNEL, GUEST_TREE, give_p_states
from tests.rig.shell import GuestShell
from tests.rig.waiting import GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

LCORE = 2
"""That of DPDK's test; alone on CPU 1, so its requests are that CPU's frequency."""
PINS = {0: "0", 1: "0", LCORE: "1"}
TURBO, NOMINAL, _, LOWEST = STEPS = (3_001_000, 3_000_000, 2_000_000, 1_200_000)
LOG = "/l3fwd.log"
POLICY = f"{GUEST_TREE}/policy{LCORE}"
CLOCK = "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq"


@pytest.fixture
def guest(system_host: SystemHost, tree: CpuTree) -> Guest:
    try:
        spec = dpdk_p_state_guest(pins=PINS)
    except UnavailableError as error:
        pytest.skip(f"l3fwd-power cannot be built: {error}")
    guest = system_host.define(spec)
    give_p_states(guest, tree)
    guest.start()
    return guest


@pytest.fixture
def daemon(system_host: SystemHost, tree: CpuTree) -> Iterator[DaemonProcess]:
    with DaemonProcess(system_host.uri, tree.root) as daemon:
        yield daemon


@pytest.fixture
def shell(guest: Guest, daemon: DaemonProcess) -> Iterator[GuestShell]:
    daemon.wait_for_channel(guest.name, CHANNEL, "open")
    with GuestShell(guest) as shell:
        yield shell


def wait_for_clock(tree: CpuTree, khz: int) -> None:
    """Wait until the daemon has set the frequency of CPU 1."""
    wait_for(
        lambda: tree.read_khz(CLOCK) == khz,
        f"CPU 1 runs at {khz} kHz",
        timeout_s=GUEST_DEADLINE_S,
    )


def wait_for_idle_clock(tree: CpuTree, khz: int, shell: GuestShell) -> None:
    """As `wait_for_clock`, for a guest without load.

    It does a little meanwhile: schedutil requests nothing for a CPU that sleeps, which
    keeps the frequency of its last load.
    """
    wait_for(
        lambda: shell.run("sleep 0.1").status == 0 and tree.read_khz(CLOCK) == khz,
        f"CPU 1 runs at {khz} kHz without load",
        timeout_s=GUEST_DEADLINE_S,
    )


def count_requests(daemon: DaemonProcess, guest: Guest) -> int:
    channel = find_channel(daemon.status(), guest.name, CHANNEL)
    assert channel
    assert channel["nack_reasons"] == {}
    return channel["requests_total"]


def read(shell: GuestShell, name: str) -> str:
    """Return a cpufreq attribute of the vCPU, as the guest reads it."""
    return shell.run(f"cat {POLICY}/{name}").printed.strip()


def test_dpdk_s_test_of_cpufreq_passes_and_each_step_is_set(
    guest: Guest, daemon: DaemonProcess, tree: CpuTree, shell: GuestShell
) -> None:
    before = count_requests(daemon, guest)
    printed = shell.run(cpufreq_test_command()).printed
    assert "Test OK" in printed.split("RTE>>")[1], printed
    assert count_requests(daemon, guest) > before
    assert read(shell, "scaling_driver") == "acpi-cpufreq"
    offered = read(shell, "scaling_available_frequencies").split()
    assert tuple(map(int, offered)) == STEPS
    shell.run(f"echo userspace >{POLICY}/scaling_governor")
    for khz in (*STEPS, TURBO):
        shell.run(f"echo {khz} >{POLICY}/scaling_setspeed")
        wait_for_clock(tree, khz)
        assert read(shell, "scaling_cur_freq") == str(khz)


class Mode(NamedTuple):
    """A mode of l3fwd-power."""

    option: str
    idle_khz: int
    """What it requests without packets."""
    governor: str
    """Of its vCPU in the guest."""


MODES = (
    # The highest frequency at its start and while packets wait. It scales down while it
    # polls in vain, and soon sleeps.
    Mode("--legacy", TURBO, "userspace"),
    Mode("--pmd-mgmt=scale", LOWEST, "userspace"),
    # It sleeps without packets, and leaves requests to the guest's kernel.
    Mode("--interrupt-only", LOWEST, "schedutil"),
)


def test_l3fwd_power_is_obeyed_in_each_of_its_modes(
    guest: Guest, daemon: DaemonProcess, tree: CpuTree, shell: GuestShell
) -> None:
    for mode in MODES:
        wait_for_idle_clock(tree, LOWEST, shell)
        shell.start(f"exec {l3fwd_command(mode.option, lcore=LCORE)}", LOG)
        wait_for_line(shell, "entering main")
        wait_for_idle_clock(tree, mode.idle_khz, shell)
        assert read(shell, "scaling_governor") == mode.governor, mode
        before = count_requests(daemon, guest)
        shell.run(f"ip link set {INTERFACE} up")
        shell.start(f"exec frames {INTERFACE}", "/frames.log")
        wait_for_clock(tree, TURBO)
        wait_for_requests(daemon, guest, before)
        shell.stop("/frames.log")
        wait_for_idle_clock(tree, mode.idle_khz, shell)
        shell.run(f"kill -INT $(cat {LOG}.pid)")
        wait_for_governor(shell, "schedutil")


def wait_for_requests(daemon: DaemonProcess, guest: Guest, before: int) -> None:
    wait_for(
        lambda: count_requests(daemon, guest) > before,
        f"more than {before} requests",
        timeout_s=GUEST_DEADLINE_S,
    )


def wait_for_line(shell: GuestShell, text: str) -> None:
    try:
        wait_for(
            lambda: shell.run(f"grep -q '{text}' {LOG}").status == 0,
            f"l3fwd-power prints {text!r}",
            timeout_s=GUEST_DEADLINE_S,
        )
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {shell.run(f'cat {LOG}').printed}") from None


def wait_for_governor(shell: GuestShell, name: str) -> None:
    wait_for(
        lambda: read(shell, "scaling_governor") == name,
        f"the guest's governor is {name}",
        timeout_s=GUEST_DEADLINE_S,
    )
