# SPDX-License-Identifier: Apache-2.0
"""P-state channels, with a whole daemon, and QEMU's serial device imitated."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.control.client import ControlClient
from orchestrator.domain_xml.p_states import build_note
from orchestrator.values.frequencies import table_from
from orchestrator.values.p_states import PStatePort, PStates
from tests.daemon.conftest import STEPS
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    write_driver_file,
)
from tests.monitor.serial_device import SerialDevice
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

NUMBER = 2000
PORT = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=2, step_bits=4)
TABLE = table_from(STEPS)
P_STATES = PStates(tables=(TABLE, TABLE), ports=(PORT,))
TURBO, NOMINAL, MIDDLE, LOWEST = STEPS
FIRST, SECOND = 0x00, 0x10
POLICY = "devices/system/cpu/cpufreq/policy{}"
WRITES = 6_000
SERIAL = """<serial type='unix'><source mode='bind' path='{}'/>
<target type='isa-serial' port='1'><model name='isa-serial'/></target>
<address type='isa' iobase='0x5c0' irq='0x3'/></serial>"""


@pytest.fixture
def uri(directory: Path, ends: list[GuestEnd]) -> str:
    """The domain dpdk-0 on CPUs 2 and 3, with a P-state channel and channel 0."""
    domain = DriverDomain(
        name="dpdk-0",
        pins=("2", "3"),
        paths={0: ends[1].path},
        devices=SERIAL.format(ends[0].path),
        metadata=etree.tostring(build_note(P_STATES), encoding="unicode"),
    )
    return write_driver_file(directory / "node.xml", [domain])


@pytest.fixture
def daemon(uri: str, tree: CpuTree, ends: list[GuestEnd]) -> Iterator[DaemonProcess]:
    with DaemonProcess(uri, tree.root) as daemon:
        for number, end in ((NUMBER, ends[0]), (0, ends[1])):
            daemon.wait_for_channel("dpdk-0", number, "open")
            end.accept()
        yield daemon


@pytest.fixture
def device(daemon: DaemonProcess, ends: list[GuestEnd]) -> SerialDevice:
    """The guest's device, which the daemon is connected to."""
    assert daemon.pid
    return SerialDevice(ends[0].peer)


def reconnected(end: GuestEnd) -> SerialDevice:
    end.accept()
    return SerialDevice(end.peer)


def wait_for_khz(tree: CpuTree, first: int, second: int) -> None:
    def are_set() -> bool:
        policies = [POLICY.format(number) for number in (2, 3)]
        taken = {tree.read(f"{it}/scaling_governor") for it in policies}
        khz = [tree.read_khz(f"{it}/scaling_cur_freq") for it in policies]
        return taken == {"userspace"} and khz == [first, second]

    wait_for(are_set, f"{first} and {second} kHz")


def slow_down(tree: CpuTree, device: SerialDevice) -> None:
    device.write(FIRST | 3, SECOND | 3)
    wait_for_khz(tree, LOWEST, LOWEST)


def test_it_is_found_and_served(
    daemon: DaemonProcess, device: SerialDevice, tree: CpuTree
) -> None:
    device.write(FIRST | 3)
    device.write(SECOND | 1)
    wait_for_khz(tree, LOWEST, NOMINAL)
    device.write(FIRST | 9)
    channel = daemon.wait_for(
        lambda s: (c := find_channel(s, "dpdk-0", NUMBER)) and c["nack_causes"] and c
    )
    assert channel
    assert channel["kind"] == "p-states"
    assert channel["target"] == "0x5c0"
    assert channel["requests_total"] == channel["unanswered_total"] == 3
    assert channel["last_request"]
    assert channel["nack_causes"] == {
        "no-step": "the guest's P-state table has no step 9 for vCPU 0"
    }
    vcpus = daemon.domain("dpdk-0")["vcpus"]
    assert [vcpu["requested_khz"] for vcpu in vcpus] == [LOWEST, NOMINAL]
    assert daemon.domain("dpdk-0")["problems"] == []


def test_both_kinds_serve_one_domain(
    device: SerialDevice, ends: list[GuestEnd], tree: CpuTree
) -> None:
    slow_down(tree, device)
    assert ends[1].request(1, Unit.SCALE_MAX) is Answer.ACK
    wait_for_khz(tree, LOWEST, TURBO)
    ends[1].close()
    wait_for_khz(tree, LOWEST, LOWEST)


def test_it_can_be_disabled_and_enabled(
    daemon: DaemonProcess, device: SerialDevice, tree: CpuTree
) -> None:
    slow_down(tree, device)
    with ControlClient(daemon.socket) as client:
        client.switch_channel("dpdk-0", NUMBER, enabled=False)
        wait_for_khz(tree, TURBO, TURBO)
        client.switch_channel("dpdk-0", NUMBER, enabled=True)
    daemon.wait_for_channel("dpdk-0", NUMBER, "open")
    slow_down(tree, device)


@pytest.mark.parametrize("is_killed", [False, True])
def test_after_a_restart_of_the_daemon_nothing_is_known(
    daemon: DaemonProcess,
    device: SerialDevice,
    ends: list[GuestEnd],
    tree: CpuTree,
    *,
    is_killed: bool,
) -> None:
    slow_down(tree, device)
    if is_killed:
        daemon.kill()
    else:
        assert daemon.stop() == 0
    daemon.start()
    daemon.wait_for_channel("dpdk-0", NUMBER, "open")
    assert [v["requested_khz"] for v in daemon.domain("dpdk-0")["vcpus"]] == [None] * 2
    slow_down(tree, reconnected(ends[0]))


def test_after_the_monitors_death_the_highest_step_is_granted(
    daemon: DaemonProcess, device: SerialDevice, ends: list[GuestEnd], tree: CpuTree
) -> None:
    slow_down(tree, device)
    os.kill(daemon.monitor_pid, signal.SIGKILL)
    device = reconnected(ends[0])
    wait_for_khz(tree, TURBO, TURBO)
    device.write(SECOND | 3)
    wait_for_khz(tree, TURBO, LOWEST)


def test_a_stopped_main_delays_no_request(
    daemon: DaemonProcess, device: SerialDevice, tree: CpuTree
) -> None:
    slow_down(tree, device)
    daemon.signal(signal.SIGSTOP)
    try:
        device.write(FIRST | 2)
        wait_for_khz(tree, MIDDLE, LOWEST)
    finally:
        daemon.signal(signal.SIGCONT)


@pytest.mark.parametrize("is_main_stopped", [False, True])
def test_a_guest_writes_on_while_the_monitor_is_stopped(
    daemon: DaemonProcess,
    device: SerialDevice,
    ends: list[GuestEnd],
    tree: CpuTree,
    *,
    is_main_stopped: bool,
) -> None:
    slow_down(tree, device)
    monitor = daemon.monitor_pid
    stopped = [monitor, *([daemon.pid] if is_main_stopped else [])]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    device.write(*[FIRST | 3, FIRST | 2] * (WRITES // 2))
    assert device.lost > WRITES // 2
    for pid in stopped if is_main_stopped else ():
        os.kill(pid, signal.SIGCONT)

    def has_khz(khz: int, *data: int) -> bool:
        # Main replaces a monitor that was stopped for long: another connection.
        nonlocal device
        if ends[0].try_accept():
            device = SerialDevice(ends[0].peer)
        with suppress(BrokenPipeError):
            device.pump()
            device.write(*data)
        policies = [POLICY.format(number) for number in (2, 3)]
        return {tree.read_khz(f"{it}/scaling_cur_freq") for it in policies} == {khz}

    wait_for(lambda: has_khz(TURBO), "the highest step for both vCPUs")
    lowest = FIRST | 3, SECOND | 3
    wait_for(lambda: has_khz(LOWEST, *lowest), "the lowest step for both vCPUs")
