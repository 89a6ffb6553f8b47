"""Counters of sysfs, netlink and libvirt, read."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import HypervisorGone
from orchestrator.sampling.branches import BranchCounters
from orchestrator.sampling.host import LONGEST_CALL_S, HostSampling
from orchestrator.sampling.interfaces import InterfaceCounters
from orchestrator.sampling.perf_event import EventPair, PairCounter
from orchestrator.sampling.question import Need, Question, SamplingError
from orchestrator.sampling.readings import (
    BranchReading,
    TrafficReading,
    UtilisationReading,
    branch_count,
)
from orchestrator.sampling.virtual_functions import (
    VirtualFunctionCounters,
    ask_kernel,
    decode_received,
    encode_question,
)
from orchestrator.values.domain import DomainId, InterfaceKind, InterfaceSpec
from tests.sampling.netlink import Function, answer, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

ROOT = Path(__file__).parents[2]
UUID = DomainId("5579e6cd-caca-4c68-8934-da43e4863198")
OTHER = DomainId("6679e6cd-caca-4c68-8934-da43e4863198")
MAC = "52:54:00:12:34:56"
CPU = min(os.sched_getaffinity(0))


class Times:
    """A libvirt that tells what a test says; None: it is lost."""

    def __init__(self, told: Mapping[DomainId, Mapping[int, int]] | None) -> None:
        self._told = told
        self.asked: list[list[DomainId]] = []

    def vcpu_times(self, uuid: DomainId) -> Mapping[int, int]:
        return self.vcpu_times_together([uuid])[uuid]

    def vcpu_times_together(
        self, uuids: Collection[DomainId]
    ) -> Mapping[DomainId, Mapping[int, int]]:
        self.asked.append(list(uuids))
        if self._told is None:
            raise HypervisorGone("not connected")
        return {uuid: self._told[uuid] for uuid in uuids if uuid in self._told}


def no_function(pci: str) -> int:
    raise AssertionError(f"{pci} was asked for")


def spec(
    kind: InterfaceKind, device: str | None = None, pci: str | None = None
) -> InterfaceSpec:
    return InterfaceSpec(mac=MAC, kind=kind, device=device, pci=pci)


def lay_out_interface(root: Path, device: str, *, rx: int, tx: int) -> None:
    statistics = root / "class" / "net" / device / "statistics"
    statistics.mkdir(parents=True)
    (statistics / "rx_packets").write_text(f"{rx}\n")
    (statistics / "tx_packets").write_text(f"{tx}\n")


# Interfaces of the host


@pytest.mark.parametrize(
    ("kind", "received"), [(InterfaceKind.TAP, 22), (InterfaceKind.MACVTAP, 11)]
)
def test_a_guest_receives_what_its_tap_sends(
    tmp_path: Path, kind: InterfaceKind, received: int
) -> None:
    lay_out_interface(tmp_path, "vnet0", rx=11, tx=22)
    counters = InterfaceCounters(tmp_path, no_function)
    assert counters.read([spec(kind, "vnet0")]) == {MAC: received}


@pytest.mark.parametrize(
    "interface",
    [
        spec(InterfaceKind.TAP, "vnet1"),
        spec(InterfaceKind.TAP, None),
        spec(InterfaceKind.TAP, ""),
        spec(InterfaceKind.TAP, ".."),
        spec(InterfaceKind.TAP, "../net/vnet0"),
        spec(InterfaceKind.UNCOUNTED, "vnet0"),
        spec(InterfaceKind.VIRTUAL_FUNCTION),
    ],
)
def test_what_cannot_be_counted_is_said_with_its_address(
    tmp_path: Path, interface: InterfaceSpec
) -> None:
    lay_out_interface(tmp_path, "vnet0", rx=11, tx=22)
    with pytest.raises(SamplingError, match=MAC):
        InterfaceCounters(tmp_path, no_function).read([interface])


def test_a_domain_without_interfaces_has_no_traffic_to_see(tmp_path: Path) -> None:
    with pytest.raises(SamplingError, match="no such network interface"):
        InterfaceCounters(tmp_path, no_function).read([])


@pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("unshare") is None
    or not Path("/dev/net/tun").exists(),
    reason="needs root, unshare and /dev/net/tun",
)
def test_a_real_tap_counts_in_the_direction_that_we_think() -> None:
    shell = "mount -t sysfs none /sys && exec python3 -m tests.sampling.tap"
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--mount",
            "sh",
            "-c",
            shell.replace("python3", sys.executable),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "3"]


# Virtual functions

FUNCTIONS = [
    Function(0, "52:54:00:00:00:01", 111),
    Function(1, MAC, 2**40),
    Function(2, "00:00:00:00:00:00", None),
]


def lay_out_card(root: Path) -> None:
    devices = root / "bus" / "pci" / "devices"
    (devices / "0000:3b:00.0" / "net" / "ens1f0").mkdir(parents=True)
    (devices / "0000:3b:00.0" / "net" / "ens1f0" / "ifindex").write_text("42\n")
    for number in range(3):
        name = f"0000:3b:02.{number}"
        (devices / name).mkdir()
        (devices / name / "physfn").symlink_to("../0000:3b:00.0")
        virtual = devices / "0000:3b:00.0" / f"virtfn{number}"
        virtual.symlink_to(f"../{name}")


def ask(index: int) -> bytes:
    return answer(index, "ens1f0", FUNCTIONS) if index == 42 else refusal(errno.ENODEV)


def test_an_answer_tells_what_each_function_has_received() -> None:
    assert decode_received(ask(42)) == {0: 111, 1: 2**40}


def test_a_virtual_function_is_found_by_its_pci_address(tmp_path: Path) -> None:
    lay_out_card(tmp_path)
    counters = VirtualFunctionCounters(tmp_path, ask)
    assert counters.read("0000:3b:02.1") == 2**40
    interfaces = InterfaceCounters(tmp_path, counters.read)
    function = spec(InterfaceKind.VIRTUAL_FUNCTION, pci="0000:3b:02.0")
    assert interfaces.read([function]) == {MAC: 111}


@pytest.mark.parametrize(
    ("pci", "reason"),
    [
        ("0000:3b:02.2", "does not count"),
        ("0000:3b:00.0", "is no virtual function"),
        ("0000:ff:00.0", "is no virtual function"),
        ("../../class", "is no virtual function"),
    ],
)
def test_a_function_that_cannot_be_counted_says_why(
    tmp_path: Path, pci: str, reason: str
) -> None:
    lay_out_card(tmp_path)
    with pytest.raises(SamplingError, match=reason):
        VirtualFunctionCounters(tmp_path, ask).read(pci)


def test_a_virtual_function_and_its_stand_in_are_counted_together(
    tmp_path: Path,
) -> None:
    lay_out_card(tmp_path)
    lay_out_interface(tmp_path, "vnet0", rx=1, tx=7)
    counters = VirtualFunctionCounters(tmp_path, ask)
    both = [
        spec(InterfaceKind.VIRTUAL_FUNCTION, pci="0000:3b:02.0"),
        spec(InterfaceKind.TAP, "vnet0"),
    ]
    assert InterfaceCounters(tmp_path, counters.read).read(both) == {MAC: 118}


def test_a_card_that_is_somewhere_else_has_no_counters_here(tmp_path: Path) -> None:
    lay_out_card(tmp_path)
    shutil.rmtree(tmp_path / "bus/pci/devices/0000:3b:00.0/net")
    with pytest.raises(SamplingError, match="no interface here"):
        VirtualFunctionCounters(tmp_path, ask).read("0000:3b:02.0")


def test_a_card_that_is_strange_is_a_reason_too(tmp_path: Path) -> None:
    lay_out_card(tmp_path)
    port = tmp_path / "bus/pci/devices/0000:3b:00.0/net/ens1f0/ifindex"
    port.write_text("many\n")
    with pytest.raises(SamplingError, match="cannot ask"):
        VirtualFunctionCounters(tmp_path, ask).read("0000:3b:02.0")


def test_counters_that_are_closed_are_a_reason(switches: BranchCounters) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    counter = PairCounter(CPU, EventPair.CLOCK_AND_SWITCHES)
    counter.close()
    with pytest.raises(SamplingError):
        counter.read()


@pytest.mark.parametrize("size", [0, 3, 15, 40, 120, 300])
def test_a_torn_answer_is_an_error_or_says_less(size: int) -> None:
    try:
        received = decode_received(ask(42)[:size])
    except SamplingError:
        return
    assert received.items() <= {0: 111, 1: 2**40}.items()


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(SamplingError):
        decode_received(ask(43))


def test_the_kernel_understands_the_question_and_we_its_answer() -> None:
    loopback = socket.if_nametoindex("lo")
    assert encode_question(loopback)[4:6] == b"\x12\x00"
    assert decode_received(ask_kernel(loopback)) == {}
    with pytest.raises(SamplingError):
        decode_received(ask_kernel(2**30))


# Branches


@pytest.fixture
def switches() -> Iterator[BranchCounters]:
    """Counters that every kernel has, in place of branches."""
    counters = BranchCounters(EventPair.CLOCK_AND_SWITCHES)
    yield counters
    counters.keep(())


def open_events() -> int:
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            targets.append(str(link.readlink()))
    return targets.count("anon_inode:[perf_event]")


def test_counters_of_a_cpu_grow_and_are_opened_once(switches: BranchCounters) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    first = switches.read([CPU])[CPU]
    # To wait for a child is to be switched away from, and back.
    subprocess.run(["taskset", "-c", str(CPU), "true"], check=True)
    second = switches.read([CPU])[CPU]
    assert second.branches > first.branches
    assert second.misses > first.misses
    assert second.running_ns > first.running_ns
    assert open_events() == 2
    old, new = (BranchReading(0.0, {CPU: x}) for x in (first, second))
    count = branch_count(old, new, [CPU])
    assert count is not None
    assert count.elapsed_s == pytest.approx(count.branches / 1e9, rel=0.2)


def test_f18_s12_counters_that_nobody_needs_are_closed(
    switches: BranchCounters,
) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    before = open_events()
    for _ in range(100):
        switches.read([CPU])
    assert open_events() == before
    switches.keep([CPU])
    assert open_events() == before
    switches.keep([])
    assert open_events() == before - 2


def test_a_cpu_that_is_not_there_has_a_reason(switches: BranchCounters) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    before = open_events()
    with pytest.raises(SamplingError):
        switches.read([CPU, 8000])
    assert open_events() == before


def test_f18_a_machine_without_branch_counters_says_so() -> None:
    counters = BranchCounters()
    reason = counters.find_obstacle([CPU])
    if reason is None:
        counters.keep(())
        pytest.skip("this machine has counters of branches")
    assert reason in (
        "this machine offers no counter of branches",
        "the kernel forbids counting (kernel.perf_event_paranoid)",
    )
    assert open_events() == 0


# The host as a whole


def question(need: Need, *interfaces: InterfaceSpec) -> Question:
    return Question(need, UUID, interfaces, frozenset({CPU}))


def test_the_host_answers_each_kind_of_question(tmp_path: Path) -> None:
    lay_out_interface(tmp_path, "vnet0", rx=1, tx=2)
    branches = BranchCounters(EventPair.CLOCK_AND_SWITCHES)
    host = HostSampling(
        sysfs_root=tmp_path, vcpu_times=Times({UUID: {0: 5}}), branches=branches
    )
    traffic = host.read(question(Need.TRAFFIC, spec(InterfaceKind.TAP, "vnet0")))
    assert isinstance(traffic, TrafficReading)
    assert traffic.packets == {MAC: 2}
    times = host.read(question(Need.UTILISATION))
    assert isinstance(times, UtilisationReading)
    assert times.run_ns == {0: 5}
    assert times.at_s >= traffic.at_s
    assert host.find_obstacle(question(Need.UTILISATION)) is None
    if host.find_obstacle(question(Need.BRANCHES)) is None:
        counted = host.read(question(Need.BRANCHES))
        assert isinstance(counted, BranchReading)
        assert counted.counters.keys() == {CPU}
    host.keep(())
    assert open_events() == 0


def test_a_lost_libvirt_is_a_reason_not_to_see(tmp_path: Path) -> None:
    host = HostSampling(sysfs_root=tmp_path, vcpu_times=Times(None))
    asked = question(Need.UTILISATION)
    with pytest.raises(SamplingError, match="not connected"):
        host.read(asked)
    assert host.read_together([asked]) == {}


def test_many_domains_are_answered_with_what_one_call_tells(tmp_path: Path) -> None:
    times = Times({UUID: {0: 5}})
    clock = iter([1.0, 1.1]).__next__
    host = HostSampling(sysfs_root=tmp_path, vcpu_times=times, clock=clock)
    asked = question(Need.UTILISATION)
    told = host.read_together([asked, asked._replace(uuid=OTHER)])
    assert told == {UUID: UtilisationReading(1.05, {0: 5})}


def test_a_call_that_took_long_has_looked_nobody_knows_when(tmp_path: Path) -> None:
    clock = iter([1.0, 1.0 + LONGEST_CALL_S, 2.0, 2.1 + LONGEST_CALL_S]).__next__
    times = Times({UUID: {0: 5}})
    host = HostSampling(sysfs_root=tmp_path, vcpu_times=times, clock=clock)
    assert host.read_together([question(Need.UTILISATION)]) != {}
    assert host.read_together([question(Need.UTILISATION)]) == {}
