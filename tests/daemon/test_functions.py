# SPDX-License-Identifier: Apache-2.0
"""What DPDK's own host cannot do, and what its test plans require, with real daemons.

The names begin with the numbers of docs/conformance-functions.md.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    Answer,
    Capabilities,
    Command,
    Frequencies,
    PolicyPacket,
    Request,
    Unit,
    decode_capabilities,
    decode_frequencies,
    encode,
    encode_policy,
)
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    guest_ends,
    write_driver_file,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.control.documents import Channel, Status

CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
GOVERNOR = "devices/system/cpu/cpufreq/policy{}/scaling_governor"
MIN, NOMINAL, TURBO = 1_200_000, 3_000_000, 3_001_000
LONG_NAME = "edge.router.01-with-a-name-of-more-than-thirty-one-characters"


def governors(tree: CpuTree) -> dict[int, str]:
    return {n: tree.read(GOVERNOR.format(n)) for n in range(8)}


def frequency(tree: CpuTree, group: int) -> int | None:
    return tree.read_khz(CLOCK.format(group))


def wait_for_frequency(tree: CpuTree, group: int, khz: int) -> None:
    wait_for(lambda: frequency(tree, group) == khz, f"CPU {group} at {khz} kHz")


@contextmanager
def two_vms(directory: Path, tree: CpuTree, *, pins: str) -> Iterator[list[GuestEnd]]:
    """Run a daemon with two domains of one vCPU each, pinned to these CPUs."""
    with guest_ends(directory, 2) as ends:
        domains = [
            DriverDomain(
                name=f"vm{n}", pins=(pins[n],), paths={0: end.path}, number=n + 1
            )
            for n, end in enumerate(ends)
        ]
        uri = write_driver_file(directory / "node.xml", domains)
        with DaemonProcess(uri, tree.root) as daemon:
            for number, end in enumerate(ends):
                daemon.wait_for_channel(f"vm{number}", 0, "open")
                end.accept()
            yield ends


@pytest.mark.usefixtures("daemon")
def test_f3_an_unknown_vcpu_is_refused_and_cpu_0_is_not_changed(
    tree: CpuTree, ends: list[GuestEnd]
) -> None:
    before = governors(tree)
    for vcpu in (2, 7, 128, 65_535, 2**32, 2**32 + 1, 2**64 - 1):
        assert ends[0].request(vcpu, Unit.SCALE_MIN) is Answer.NACK
    assert governors(tree) == before


def test_f5_of_domains_that_share_a_core_the_highest_request_counts(
    directory: Path, tree: CpuTree
) -> None:
    with two_vms(directory, tree, pins="33") as (first, second):
        assert first.request(0, Unit.SCALE_MIN) is Answer.ACK
        wait_for_frequency(tree, 3, TURBO)
        assert second.request(0, Unit.SCALE_MIN) is Answer.ACK
        wait_for_frequency(tree, 3, MIN)
        assert first.request(0, Unit.SCALE_MAX) is Answer.ACK
        wait_for_frequency(tree, 3, TURBO)
        # It is not stuck at the highest step: it goes down again.
        assert first.request(0, Unit.SCALE_MIN) is Answer.ACK
        wait_for_frequency(tree, 3, MIN)


def test_f10_requests_are_counted_and_the_counters_are_in_the_api(
    daemon: DaemonProcess, ends: list[GuestEnd]
) -> None:
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    assert ends[0].request(9, Unit.SCALE_MIN) is Answer.NACK
    channel = daemon.wait_for_answers("dpdk-0", 0, 2)
    assert channel["acks_total"] == 1
    assert channel["nacks_total"] == 1
    with ControlClient(daemon.socket) as client:
        kinds = {event["kind"] for event in client.events()}
    assert {"channel-state", "group", "libvirt"} <= kinds


def test_f11_a_domain_is_released_while_its_channels_are_open(
    uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    before = governors(tree)
    with DaemonProcess(uri, tree.root, release_after_s=0.3) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        served = daemon.config.read_text(encoding="utf-8")
        let_go = '[[domain]]\nmatch = "dpdk-0"\nmode = "observe"\n'
        set_rules(daemon, served + let_go, "observe")
        wait_for(lambda: governors(tree) == before, "its CPUs are restored")
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
        set_rules(daemon, served, "enforce")
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        # All of it over the same connection.
        assert not ends[0].try_accept()
        assert frequency(tree, 2) == MIN


def set_rules(daemon: DaemonProcess, text: str, mode: str) -> None:
    daemon.config.write_text(text, encoding="utf-8")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda status: status["domains"][0]["mode"] == mode)


def test_f12_a_long_name_with_dots_and_more_than_8_vcpus(
    directory: Path, tree: CpuTree
) -> None:
    low = PolicyPacket(policy=2, workload=2, vm_name=LONG_NAME.encode())
    with guest_ends(directory, 2) as ends:
        paths = {number: end.path for number, end in enumerate(ends)}
        pins = tuple(str(vcpu % 8) for vcpu in range(10))
        domain = DriverDomain(name=LONG_NAME, pins=pins, paths=paths)
        uri = write_driver_file(directory / "node.xml", [domain])
        with DaemonProcess(uri, tree.root) as daemon:
            for number, end in enumerate(ends):
                daemon.wait_for_channel(LONG_NAME, number, "open")
                end.accept()
            first = low._replace(num_vcpu=8, vcpus=tuple(range(8)))
            rest = low._replace(num_vcpu=2, vcpus=(8, 9, 0, 0, 0, 0, 0, 0))
            assert ends[0].send_packet(encode_policy(first)) is Answer.ACK
            assert ends[1].send_packet(encode_policy(rest)) is Answer.ACK
            for group in range(8):
                wait_for_frequency(tree, group, MIN)
            requested = {v["requested_khz"] for v in daemon.domain(LONG_NAME)["vcpus"]}
            assert requested == {MIN}
            with ControlClient(daemon.socket) as client:
                client.set_policy(LONG_NAME, "a", "workload low vcpus=0-4")
                client.set_policy(LONG_NAME, "b", "utilisation vcpus=5-9")
            assert len(daemon.domain(LONG_NAME)["policies"]) == 4


def test_f13_f23_cpus_beyond_31_63_and_255_are_reached(directory: Path) -> None:
    lay_out(directory / "many", cpus=300)
    uri = write_driver_file(directory / "node.xml", [])
    with (
        DaemonProcess(uri, directory / "many") as daemon,
        ControlClient(daemon.socket) as client,
    ):
        for pcpu in (31, 32, 63, 64, 255, 256, 299):
            assert client.override(pcpu, MIN)["grant_khz"] == MIN
        set_cpus = [c["pcpu"] for c in client.cpus()["cpus"] if c["override_khz"]]
        assert set_cpus == [31, 32, 63, 64, 255, 256, 299]


def test_f20_the_frequency_shown_is_the_kernel_s(
    daemon: DaemonProcess, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    (tree.root / CLOCK.format(2)).unlink()
    (tree.root / CLOCK.format(2)).write_text("2222222\n")
    with ControlClient(daemon.socket) as client:
        wait_for(
            lambda: client.cpu(2)["current_khz"] == 2_222_222, "the actual frequency"
        )
        assert client.cpu(2)["grant_khz"] == MIN


# DPDK's test plans


def test_dts_channels_are_listed_and_the_pinning_is_that_of_the_xml(
    daemon: DaemonProcess,
) -> None:
    domain = daemon.domain("dpdk-0")
    assert [c["state"] for c in domain["channels"]] == ["open", "open"]
    assert [(v["vcpu"], v["pcpus"]) for v in domain["vcpus"]] == [(0, [2]), (1, [3])]


def test_dts_channels_of_vcpus_on_socket_1(
    directory: Path, uri: str, ends: list[GuestEnd]
) -> None:
    lay_out(directory / "two", cpus=4, sockets=2, steps_khz=(TURBO, NOMINAL, MIN))
    tree = CpuTree(directory / "two")
    with DaemonProcess(uri, tree.root) as daemon:
        daemon.wait_for_channel("dpdk-0", 0, "open")
        domain = daemon.domain("dpdk-0")
        assert [v["pcpus"] for v in domain["vcpus"]] == [[2], [3]]
        assert [cpu["package"] for cpu in daemon.status()["cpus"]] == [0, 0, 1, 1]
        ends[0].accept()
        assert ends[0].request(1, Unit.SCALE_MIN) is Answer.ACK
        assert frequency(tree, 3) == MIN


def test_dts_scaling_changes_exactly_the_mapped_cpu(
    directory: Path, tree: CpuTree
) -> None:
    with two_vms(directory, tree, pins="23") as (first, other):
        assert other.request(0, Unit.DISABLE_TURBO) is Answer.ACK
        before = governors(tree)
        for unit, khz in [
            (Unit.SCALE_MIN, MIN),
            (Unit.SCALE_MAX, TURBO),
            (Unit.SCALE_DOWN, NOMINAL),
            (Unit.SCALE_UP, TURBO),
            (Unit.SCALE_MIN, MIN),
        ]:
            assert first.request(0, unit) is Answer.ACK
            assert (frequency(tree, 2), frequency(tree, 3)) == (khz, NOMINAL)
        after = governors(tree)
        assert {n for n in after if after[n] != before[n]} == {2}


@pytest.mark.usefixtures("daemon")
def test_dts_ack_if_the_request_is_carried_out_and_nack_if_not(
    ends: list[GuestEnd],
) -> None:
    assert ends[0].request(1, Unit.SCALE_MIN) is Answer.ACK
    assert ends[0].request(2, Unit.SCALE_MIN) is Answer.NACK
    # What the guest's command receives as 128, 1000000000000 and -1.
    for vcpu in (128, 10**12, 2**64 - 1):
        assert ends[0].request(vcpu, Unit.SCALE_MIN) is Answer.NACK
    assert ends[1].request(1, Unit.SCALE_MAX) is Answer.ACK


def test_dts_queries_with_and_without_permission(
    directory: Path, tree: CpuTree
) -> None:
    with guest_ends(directory, 2) as ends:
        domains = [
            DriverDomain(name="may", pins=tuple("01234567"), paths={0: ends[0].path}),
            DriverDomain(
                name="may-not", pins=("0",), paths={0: ends[1].path}, number=2
            ),
        ]
        uri = write_driver_file(directory / "node.xml", domains)
        rule = '[[domain]]\nmatch = "may-not"\nqueries = false\n'
        with DaemonProcess(uri, tree.root, config=rule) as daemon:
            for domain, end in zip(domains, ends, strict=True):
                daemon.wait_for_channel(domain.name, 0, "open")
                end.accept()
            may, may_not = ends
            assert may.request(1, Unit.SCALE_MIN) is Answer.ACK
            frequencies = query_frequencies(may, Command.QUERY_FREQ_LIST)
            assert (frequencies.command, frequencies.num_vcpu) == (Answer.FREQ_LIST, 8)
            assert frequencies.khz == (0, MIN, *[0] * 6)
            assert query_frequencies(may, Command.QUERY_FREQ, 1).khz == (
                0,
                MIN,
                *[0] * 6,
            )
            able = query_capabilities(may, Command.QUERY_CAPS_LIST)
            assert (able.command, able.num_vcpu) == (Answer.CAPS_LIST, 8)
            # No simulated CPU has priority.
            assert (able.turbo, able.priority) == ((1,) * 8, (0,) * 8)
            assert query_capabilities(may, Command.QUERY_CAPS, 8).command == Answer.NACK
            for frequencies in (
                query_frequencies(may, Command.QUERY_FREQ, 8),
                query_frequencies(may_not, Command.QUERY_FREQ_LIST),
                query_frequencies(may_not, Command.QUERY_FREQ),
            ):
                assert (frequencies.command, frequencies.khz) == (Answer.NACK, (0,) * 8)
            refused = query_capabilities(may_not, Command.QUERY_CAPS_LIST)
            assert (refused.command, refused.turbo) == (Answer.NACK, (0,) * 8)
            assert may_not.request(0, Unit.SCALE_MIN) is Answer.ACK


def query_frequencies(end: GuestEnd, command: Command, vcpu: int = 0) -> Frequencies:
    return decode_frequencies(end.exchange(encode(Request(vcpu, 0, command)), 88))


def query_capabilities(end: GuestEnd, command: Command, vcpu: int = 0) -> Capabilities:
    return decode_capabilities(end.exchange(encode(Request(vcpu, 0, command)), 184))


@pytest.mark.usefixtures("daemon")
def test_dts_turbo_is_the_first_entry_and_without_it_the_second(
    tree: CpuTree, ends: list[GuestEnd]
) -> None:
    assert ends[0].request(0, Unit.DISABLE_TURBO) is Answer.ACK
    assert frequency(tree, 2) == NOMINAL
    assert ends[0].request(0, Unit.ENABLE_TURBO) is Answer.ACK
    assert frequency(tree, 2) == TURBO


NEGATIVE: Mapping[str, str] = {
    "cpu": "no such CPU",
    "channel": "has no channel",
    "domain": "no such domain",
}


@pytest.mark.parametrize("number", [128, 10**9 - 1])
def test_dts_negative_invalid_numbers_are_refused(
    daemon: DaemonProcess, number: int
) -> None:
    with ControlClient(daemon.socket) as client:
        with pytest.raises(ControlError, match=NEGATIVE["cpu"]):
            client.override(number, MIN)
        with pytest.raises(ControlError, match=NEGATIVE["channel"]):
            client.switch_channel("dpdk-0", number, enabled=True)
        with pytest.raises(ControlError, match=NEGATIVE["domain"]):
            client.set_policy("x" * 200, "default", "utilisation")
        with pytest.raises(ControlError):
            client.override(10**16, MIN)
        with pytest.raises(ControlError):
            client.override(-1, MIN)
    assert daemon.status()["daemon"]["monitor_pid"] is not None


def test_a_release_restores_at_once_or_leaves_the_cpu_to_votes(
    uri: str, tree: CpuTree, ends: list[GuestEnd]
) -> None:
    # With the default release_after_s, after which a group without votes is restored.
    with (
        DaemonProcess(uri, tree.root) as daemon,
        ControlClient(daemon.socket) as client,
    ):
        before = tree.read(GOVERNOR.format(5))
        client.override(5, MIN)
        assert tree.read(GOVERNOR.format(5)) == "userspace"
        released = client.release(5)
        assert tree.read(GOVERNOR.format(5)) == before
        assert (released["claimed"], released["grant_khz"]) == (False, None)
        daemon.wait_for_channel("dpdk-0", 0, "open")
        ends[0].accept()
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
        client.override(2, NOMINAL)
        assert client.release(2)["claimed"]
        wait_for_frequency(tree, 2, MIN)


def test_advice_ends_with_its_cause(
    daemon: DaemonProcess, ends: list[GuestEnd]
) -> None:
    begun = datetime.now(UTC).replace(microsecond=0)
    with ControlClient(daemon.socket) as client:
        client.switch_channel("dpdk-0", 0, enabled=False)
        assert ends[0].request(0, Unit.SCALE_MIN) is Answer.NACK
        daemon.wait_for_answers("dpdk-0", 0, 1)
        channel = daemon.wait_for(lambda status: find_explained(status, "disabled"))
        assert channel is not None
        assert "enable it with" in channel["nack_causes"]["disabled"]
        client.switch_channel("dpdk-0", 0, enabled=True)
        (channel, _) = client.domain("dpdk-0")["channels"]
    assert channel["nack_causes"] == {}
    assert channel["nack_reasons"] == {"disabled": 1}
    last = datetime.fromisoformat(channel["nack_last"]["disabled"])
    assert begun - timedelta(seconds=1) <= last <= datetime.now(UTC)


def find_explained(status: Status, reason: str) -> Channel | None:
    channel = status["domains"][0]["channels"][0]
    return channel if reason in channel["nack_causes"] else None
