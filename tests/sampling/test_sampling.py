# SPDX-License-Identifier: Apache-2.0
"""Counters of sysfs, netlink, perf and libvirt are read."""

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
from orchestrator.sampling.branches import (
    BranchCount,
    BranchCounter,
    BranchCounters,
    BranchReading,
    BranchSampler,
    branch_count,
)
from orchestrator.sampling.contract import Lane, SampleTarget, SamplingError
from orchestrator.sampling.interfaces import InterfaceCounters
from orchestrator.sampling.kinds import SampleKind, build_samplers
from orchestrator.sampling.packets import PacketReading, PacketSampler
from orchestrator.sampling.perf_event import EventPair, PairCounter, explain
from orchestrator.sampling.vcpu_times import (
    LONGEST_CALL_S,
    VCpuTimeReading,
    VCpuTimeSampler,
)
from orchestrator.sampling.virtual_functions import (
    VirtualFunctionCounters,
    decode_received,
    encode_request,
    query_kernel,
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
    """A libvirt that reports the times of a test; None: it is disconnected."""

    def __init__(self, known: Mapping[DomainId, Mapping[int, int]] | None) -> None:
        self._known = known
        self.asked: list[list[DomainId]] = []

    def vcpu_times(self, uuid: DomainId) -> Mapping[int, int]:
        return self.vcpu_times_together([uuid])[uuid]

    def vcpu_times_together(
        self, uuids: Collection[DomainId]
    ) -> Mapping[DomainId, Mapping[int, int]]:
        self.asked.append(list(uuids))
        if self._known is None:
            raise HypervisorGone("not connected")
        return {uuid: self._known[uuid] for uuid in uuids if uuid in self._known}


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
def test_an_interface_without_a_counter_is_named_by_its_address(
    tmp_path: Path, interface: InterfaceSpec
) -> None:
    lay_out_interface(tmp_path, "vnet0", rx=11, tx=22)
    with pytest.raises(SamplingError, match=MAC):
        InterfaceCounters(tmp_path, no_function).read([interface])


def test_a_domain_without_interfaces_has_no_traffic_to_see(tmp_path: Path) -> None:
    with pytest.raises(SamplingError, match="no matching network interface"):
        InterfaceCounters(tmp_path, no_function).read([])


@pytest.mark.parametrize(
    ("interfaces", "obstacle"),
    [
        ([], "the domain has no matching network interface"),
        (
            [spec(InterfaceKind.TAP, "vnet0"), spec(InterfaceKind.UNCOUNTED)],
            f"the host has no packet counter for {MAC}",
        ),
        # The device may appear.
        ([spec(InterfaceKind.TAP, "vnet7")], None),
        ([spec(InterfaceKind.VIRTUAL_FUNCTION)], None),
    ],
)
def test_traffic_that_can_never_be_counted_is_an_obstacle(
    tmp_path: Path, interfaces: list[InterfaceSpec], obstacle: str | None
) -> None:
    target = SampleTarget(UUID, tuple(interfaces), frozenset())
    assert PacketSampler(tmp_path).find_obstacle(target) == obstacle


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


def test_an_answer_has_what_each_function_received() -> None:
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
        ("0000:3b:02.2", "has no packet counters"),
        ("0000:3b:00.0", "not a virtual function"),
        ("0000:ff:00.0", "not a virtual function"),
        ("../../class", "not a virtual function"),
    ],
)
def test_a_function_without_counters_gives_the_reason(
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
    with pytest.raises(SamplingError, match="has no network interface"):
        VirtualFunctionCounters(tmp_path, ask).read("0000:3b:02.0")


def test_a_card_that_is_strange_is_a_reason_too(tmp_path: Path) -> None:
    lay_out_card(tmp_path)
    port = tmp_path / "bus/pci/devices/0000:3b:00.0/net/ens1f0/ifindex"
    port.write_text("many\n")
    with pytest.raises(SamplingError, match="cannot read the packet counter"):
        VirtualFunctionCounters(tmp_path, ask).read("0000:3b:02.0")


def test_counters_that_are_closed_are_a_reason(switches: BranchCounters) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    counter = PairCounter(CPU, EventPair.CLOCK_AND_SWITCHES)
    counter.close()
    with pytest.raises(SamplingError):
        counter.read()


@pytest.mark.parametrize("size", [0, 3, 15, 40, 120, 300])
def test_a_torn_answer_is_an_error_or_has_less(size: int) -> None:
    try:
        received = decode_received(ask(42)[:size])
    except SamplingError:
        return
    assert received.items() <= {0: 111, 1: 2**40}.items()


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(SamplingError):
        decode_received(ask(43))


def test_without_pyroute2_the_reason_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out_card(tmp_path)
    monkeypatch.setitem(sys.modules, "pyroute2.netlink.rtnl.ifinfmsg", None)
    counters = VirtualFunctionCounters(tmp_path)
    with pytest.raises(SamplingError, match="pyroute2 is not installed"):
        counters.read("0000:3b:02.1")


def test_the_kernel_understands_the_question_and_we_its_answer() -> None:
    loopback = socket.if_nametoindex("lo")
    assert encode_request(loopback)[4:6] == b"\x12\x00"
    assert decode_received(query_kernel(loopback)) == {}
    with pytest.raises(SamplingError):
        decode_received(query_kernel(2**30))


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


def test_f18_s12_unused_counters_are_closed(
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


def test_a_counter_that_fails_is_closed_and_opened_again(
    switches: BranchCounters,
) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    before = open_events()
    switches._open[CPU].close()  # as the kernel does when the CPU goes offline
    with pytest.raises(SamplingError, match="offline"):
        switches.read([CPU])
    assert switches.read([CPU])[CPU].running_ns > 0
    assert open_events() == before


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOENT, "this machine has no branch counters"),
        (errno.EOPNOTSUPP, "this machine has no branch counters"),
        (errno.EACCES, "the kernel does not permit counting"),
        (errno.EPERM, "the kernel does not permit counting"),
        (errno.EMFILE, "cannot count on CPU 3: Too many open files"),
    ],
)
def test_a_counter_that_cannot_be_opened_has_a_reason(code: int, reason: str) -> None:
    assert explain(OSError(code, os.strerror(code)), 3).startswith(reason)


def test_f18_a_machine_without_branch_counters_is_reported() -> None:
    counters = BranchCounters()
    reason = counters.find_obstacle([CPU])
    if reason is None:
        counters.keep(())
        pytest.skip("this machine has counters of branches")
    assert reason in (
        "this machine has no branch counters",
        "the kernel does not permit counting (kernel.perf_event_paranoid)",
    )
    assert open_events() == 0


# The samplers


def target(*interfaces: InterfaceSpec, uuid: DomainId = UUID) -> SampleTarget:
    return SampleTarget(uuid, interfaces, frozenset({CPU}))


def test_there_is_a_sampler_for_every_kind_of_sample(tmp_path: Path) -> None:
    samplers = build_samplers(sysfs_root=tmp_path, vcpu_times=Times({}))
    assert samplers.keys() == set(SampleKind)
    lanes = {kind: sampler.lane for kind, sampler in samplers.items()}
    assert lanes == {
        SampleKind.PACKETS: Lane.HOST_FILES,
        SampleKind.BRANCHES: Lane.HOST_FILES,
        SampleKind.VCPU_TIME: Lane.LIBVIRT,
    }
    batched = {kind for kind, sampler in samplers.items() if sampler.is_batched}
    assert batched == {SampleKind.VCPU_TIME}


def test_packets_are_read_of_the_interfaces_of_the_target(tmp_path: Path) -> None:
    lay_out_interface(tmp_path, "vnet0", rx=1, tx=2)
    sampler = PacketSampler(tmp_path, iter([7.5]).__next__)
    tap = target(spec(InterfaceKind.TAP, "vnet0"))
    assert sampler.find_obstacle(tap) is None
    assert sampler.read(tap) == PacketReading(7.5, {MAC: 2})
    assert sampler.read_together([tap]) == {}


def test_every_vcpu_gets_the_packet_rate_of_its_domain(tmp_path: Path) -> None:
    sampler = PacketSampler(tmp_path)
    old, new = PacketReading(1.0, {MAC: 0}), PacketReading(3.0, {MAC: 10})
    assert sampler.between(old, new, {0: {2}, 5: {3}}) == {0: 5.0, 5: 5.0}
    assert sampler.between(new, old, {0: {2}, 5: {3}}) == {}


def test_run_times_are_read_of_the_domain_of_the_target() -> None:
    sampler = VCpuTimeSampler(Times({UUID: {0: 5}}), iter([7.5]).__next__)
    assert sampler.find_obstacle(target()) is None
    assert sampler.read(target()) == VCpuTimeReading(7.5, {0: 5})


def test_a_vcpu_of_unknown_load_is_left_out() -> None:
    sampler = VCpuTimeSampler(Times({}))
    old, new = VCpuTimeReading(1.0, {0: 0}), VCpuTimeReading(2.0, {0: 10**9, 1: 3})
    assert sampler.between(old, new, {0: {2}, 1: {3}}) == {0: 1.0}


def test_branches_are_counted_on_the_cpus_of_each_vcpu(
    switches: BranchCounters,
) -> None:
    if reason := switches.find_obstacle([CPU]):
        pytest.skip(reason)
    sampler = BranchSampler(switches, iter([7.5]).__next__)
    assert sampler.find_obstacle(target()) is None
    reading = sampler.read(target())
    assert (reading.at_s, list(reading.counters)) == (7.5, [CPU])
    before = open_events()
    sampler.keep([target()])
    assert open_events() == before
    sampler.keep([])
    assert open_events() == before - 2


def test_a_vcpu_whose_branches_are_unknown_is_left_out() -> None:
    sampler = BranchSampler()
    counters = {2: BranchCounter(30, 3, 10**9), 3: BranchCounter(12, 1, 0)}
    old = BranchReading(1.0, dict.fromkeys(counters, BranchCounter(0, 0, 0)))
    found = sampler.between(old, BranchReading(2.0, counters), {0: {2}, 1: {3}, 2: {9}})
    assert found == {0: BranchCount(30, 3, 1.0)}


def test_a_disconnected_libvirt_is_a_reason() -> None:
    sampler = VCpuTimeSampler(Times(None))
    with pytest.raises(SamplingError, match="not connected"):
        sampler.read(target())
    assert sampler.read_together([target()]) == {}


def test_many_domains_are_read_with_one_call_as_far_as_it_reports_them() -> None:
    times = Times({UUID: {0: 5}})
    sampler = VCpuTimeSampler(times, iter([1.0, 1.1]).__next__)
    found = sampler.read_together([target(), target(uuid=OTHER)])
    assert found == {UUID: VCpuTimeReading(1.05, {0: 5})}
    (asked,) = times.asked
    assert set(asked) == {UUID, OTHER}


def test_the_result_of_a_slow_call_is_dropped_because_its_time_is_unknown() -> None:
    clock = iter([1.0, 1.0 + LONGEST_CALL_S, 2.0, 2.1 + LONGEST_CALL_S]).__next__
    sampler = VCpuTimeSampler(Times({UUID: {0: 5}}), clock)
    assert sampler.read_together([target()]) != {}
    assert sampler.read_together([target()]) == {}
