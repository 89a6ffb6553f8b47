# SPDX-License-Identifier: Apache-2.0
"""P-state channels: a byte is a request, and nothing is answered."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.table import LAST_RECEIVED, channel_at, create_table
from orchestrator.monitor.process import step_reader
from orchestrator.monitor.process.clock import Stage
from orchestrator.values.p_states import PortSteps, PStatePort
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SECOND_NS,
    STEPS,
    TURBO,
    InProcessMonitor,
    ack,
    receive,
)
from tests.monitor.serial_device import SerialDevice
from tests.properties import examples

if TYPE_CHECKING:
    import socket

PORT = 90
"""Number of the P-state channel."""
PACKETS = 0
"""Number of the other channel."""
FIRST, SECOND = 0x00, 0x10
"""The vCPUs in a byte."""
REQUESTS = 1_000_000


def port(vcpus: int = 2, khz: tuple[int, ...] = STEPS) -> PortSteps:
    own = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=vcpus, step_bits=4)
    return PortSteps(own, (khz,) * vcpus)


def connected(
    monitor: InProcessMonitor, *, is_taken: bool = True, khz: tuple[int, ...] = STEPS
) -> socket.socket:
    """Define a domain with two vCPUs in two groups, and a P-state channel."""
    for number in (0, 1):
        monitor.define_group(number)
        monitor.hand_over(number, is_taken=is_taken)
    monitor.define_domain(groups=(0, 1))
    return monitor.adopt(number=PORT, steps=port(khz=khz))


def send(monitor: InProcessMonitor, guest: socket.socket, *data: int) -> None:
    assert monitor.request(guest, bytes(data)) == b""


def frequencies(monitor: InProcessMonitor) -> tuple[int, int]:
    return monitor.frequency(0), monitor.frequency(1)


def requests(monitor: InProcessMonitor) -> int:
    return monitor.counts(number=PORT)["unanswered"]


def fill(monitor: InProcessMonitor, guest: socket.socket, byte: int) -> int:
    """Send one byte at a time until the socket takes no more, and have them read."""
    count = 0
    try:
        while True:
            count += guest.send(bytes([byte]))
    except BlockingIOError:
        monitor.run_until_idle()
    return count


def test_each_byte_sets_the_frequency_of_its_vcpu(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    for step, khz in enumerate(STEPS):
        send(monitor, guest, FIRST | step)
        assert monitor.frequency(0) == khz
    send(monitor, guest, SECOND | 2)
    assert frequencies(monitor) == (LOWEST, MIDDLE)
    assert requests(monitor) == 5
    assert monitor.reasons(number=PORT) == {}


def test_of_many_bytes_the_last_counts_for_each_vcpu(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3, SECOND | 1, FIRST | 0, FIRST | 2, SECOND | 3)
    assert frequencies(monitor) == (MIDDLE, LOWEST)
    assert requests(monitor) == 5


def test_what_does_not_exist_is_refused_with_its_reason(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3, FIRST | 4, FIRST | 15, 0x20, 0xF0)
    assert monitor.frequency(0) == LOWEST
    assert requests(monitor) == 5
    assert monitor.reasons(number=PORT) == {"no-step": 2, "no-vcpu": 2}
    assert monitor.reported_refusals() == [
        (PORT, "no-step", 0, 4),
        (PORT, "no-vcpu", 2, 0),
    ]


def test_a_frequency_is_mapped_to_the_step_at_or_above_it(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor, khz=(4_000_000, 2_500_000, 1_300_000, 800_000))
    for step, khz in enumerate((TURBO, NOMINAL, MIDDLE, LOWEST)):
        send(monitor, guest, FIRST | step)
        assert monitor.frequency(0) == khz


def test_a_request_is_granted_within_the_bounds(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    monitor.define_domain(groups=(0, 1), min_khz=MIDDLE, max_khz=NOMINAL)
    send(monitor, guest, FIRST | 3, SECOND | 0)
    assert frequencies(monitor) == (MIDDLE, NOMINAL)
    monitor.define_domain(groups=(0, 1))
    assert frequencies(monitor) == (LOWEST, TURBO)


def test_other_steps_of_the_group_map_the_request_again(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 2)
    monitor.define_group(0, steps=(5_000_000, 2_500_000, 1_000_000), max_khz=5_000_000)
    assert monitor.frequency(0) == 2_500_000
    monitor.define_group(0, steps=STEPS)
    assert monitor.frequency(0) == MIDDLE


def test_the_group_is_taken_at_the_first_request(monitor: InProcessMonitor) -> None:
    guest = connected(monitor, is_taken=False)
    assert monitor.reports == []
    send(monitor, guest, FIRST | 3)
    assert monitor.reports == [reports.TakeWanted(0)]
    monitor.apply(commands.AnswerTake(0, is_taken=True))
    assert monitor.frequency(0) == LOWEST


def test_it_is_kept_while_there_is_a_vote(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3)
    monitor.now_ns += 10 * SECOND_NS
    monitor.run_pass()
    assert monitor.groups.clocks[0].stage is Stage.TAKEN
    assert monitor.frequency(0) == LOWEST


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({"is_enforced": False}, "observed"),
        ({"groups": (None, 1)}, "floating"),
    ],
)
def test_a_vcpu_that_cannot_be_controlled_is_refused(
    monitor: InProcessMonitor, definition: dict[str, object], reason: str
) -> None:
    guest = connected(monitor)
    monitor.define_domain(**{"groups": (0, 1), **definition})  # type: ignore[arg-type]
    send(monitor, guest, FIRST | 3, FIRST | 2)
    assert monitor.reasons(number=PORT) == {reason: 2}
    assert monitor.frequency(0) == TURBO


def test_what_an_observed_guest_would_have_got_is_noted(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    monitor.define_domain(groups=(0, None), is_enforced=False, min_khz=MIDDLE)

    send(monitor, guest, FIRST | 3)
    assert monitor.observed_p_state() == MIDDLE  # within its limits
    send(monitor, guest, FIRST | 3, FIRST | 1, SECOND | 3)
    assert monitor.observed_p_state() == NOMINAL
    send(monitor, guest, FIRST | 9, SECOND | 3)
    assert monitor.observed_p_state() == NOMINAL
    # It floats, and would not be granted anything.
    assert monitor.observed_p_state(vcpu=1) == 0

    assert (monitor.observed(), monitor.vote(), monitor.frequency(0)) == (0, 0, TURBO)
    guest.close()
    monitor.run_pass()
    assert monitor.observed_p_state() == 0


def test_a_request_of_an_observed_guest_that_may_be_lost_is_for_the_highest_step(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    monitor.define_domain(groups=(0, 1), is_enforced=False)
    fill(monitor, guest, FIRST | 3)
    assert monitor.observed_p_state() == TURBO


def test_a_domain_that_is_enforced_begins_without_what_was_only_noted(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    monitor.define_domain(groups=(0, 1), is_enforced=False)
    send(monitor, guest, FIRST | 3)
    assert monitor.observed_p_state() == LOWEST

    monitor.define_domain(groups=(0, 1))

    assert monitor.observed_p_state() == 0


def test_a_disabled_channel_refuses_and_its_votes_end(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3)
    monitor.apply(commands.SwitchChannel("0", PORT, is_enabled=False))
    assert monitor.frequency(0) == TURBO
    send(monitor, guest, FIRST | 3)
    assert monitor.reasons(number=PORT) == {"disabled": 1}
    monitor.apply(commands.SwitchChannel("0", PORT, is_enabled=True))
    assert monitor.frequency(0) == TURBO
    send(monitor, guest, FIRST | 3)
    assert monitor.frequency(0) == LOWEST


def test_an_override_and_the_kernel_refuse(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    monitor.define_group(0, override_khz=NOMINAL)
    send(monitor, guest, FIRST | 3)
    monitor.refuse_writes(1)
    send(monitor, guest, SECOND | 3)
    assert monitor.reasons(number=PORT) == {"overridden": 1, "kernel": 1}
    monitor.define_group(0)
    assert monitor.frequency(0) == LOWEST


def test_the_end_of_the_connection_ends_its_votes(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3)
    guest.close()
    monitor.run_until_idle()
    assert monitor.frequency(0) == TURBO
    closed = reports.EndpointClosed("0", PORT, 1, "hung up")
    assert closed in monitor.reports


def test_a_reboot_ends_its_votes(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3)
    monitor.apply(commands.WithdrawVotes("0"))
    assert monitor.frequency(0) == TURBO
    send(monitor, guest, FIRST | 2)
    assert monitor.frequency(0) == MIDDLE


def test_after_a_pause_the_last_request_is_not_known(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3)
    send(monitor, guest, SECOND | 3)
    monitor.define_domain(groups=(0, 1), is_executing=False)
    # Main may notice later than the guest requests something that it was resumed.
    send(monitor, guest, SECOND | 2)
    monitor.define_domain(groups=(0, 1))
    assert frequencies(monitor) == (TURBO, MIDDLE)
    monitor.now_ns += 10 * SECOND_NS
    monitor.run_pass()
    assert monitor.groups.clocks[0].stage is Stage.TAKEN
    send(monitor, guest, FIRST | 3)
    assert monitor.frequency(0) == LOWEST


def test_an_unplugged_vcpu_has_no_vote_when_it_is_back(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3, SECOND | 3)
    monitor.define_domain(groups=(0,))
    assert monitor.frequency(1) == TURBO
    send(monitor, guest, SECOND | 3)
    assert monitor.reasons(number=PORT) == {"no-vcpu": 1}
    monitor.define_domain(groups=(0, 1))
    assert frequencies(monitor) == (LOWEST, TURBO)
    send(monitor, guest, SECOND | 3)
    assert frequencies(monitor) == (LOWEST, LOWEST)


def test_a_request_survives_the_monitor_until_its_channel_is_back(
    tmp_path: Path,
) -> None:
    table_fd = create_table()
    with InProcessMonitor(tmp_path, table_fd=table_fd) as earlier:
        guest = connected(earlier)
        send(earlier, guest, FIRST | 3)
    with InProcessMonitor(tmp_path, table_fd=table_fd) as later:
        later.define_group(0)
        later.hand_over(0)
        later.define_domain(groups=(0,))
        assert later.frequency(0) == LOWEST
        guest = later.adopt(number=PORT, steps=port())
        assert later.frequency(0) == TURBO  # bytes may be lost meanwhile
        send(later, guest, FIRST | 3)
        assert later.frequency(0) == LOWEST
    os.close(table_fd)


# What may be lost


def test_after_a_full_socket_the_last_request_is_not_known(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3, SECOND | 3)
    count = fill(monitor, guest, FIRST | 3)
    assert frequencies(monitor) == (TURBO, TURBO)
    # That of QEMU's shift register, older than those that it dropped.
    send(monitor, guest, FIRST | 3)
    assert frequencies(monitor) == (TURBO, TURBO)
    send(monitor, guest, FIRST | 2)
    assert frequencies(monitor) == (MIDDLE, TURBO)
    send(monitor, guest, SECOND | 3)
    assert frequencies(monitor) == (MIDDLE, LOWEST)
    assert requests(monitor) == count + 5


def test_bytes_behind_the_kept_one_are_new(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3, SECOND | 3)
    fill(monitor, guest, FIRST | 3)
    send(monitor, guest, SECOND | 3, FIRST | 3)
    assert frequencies(monitor) == (LOWEST, TURBO)


def test_a_socket_that_was_full_is_always_noticed(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    endpoint = monitor.groups.endpoints[monitor.registry._domains["0"]][PORT]
    assert endpoint.steps is not None
    assert 1 < endpoint.steps._backlog < fill(monitor, guest, FIRST)
    assert endpoint.steps._backlog < step_reader.MAX_READ_BYTES


@settings(max_examples=examples(100), deadline=None)
@given(
    turns=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=40)
        | st.sampled_from(["pump", "serve"]),
        max_size=40,
    )
)
def test_no_vcpu_is_slower_than_it_requested_last(
    turns: list[list[tuple[int, int]] | str],
) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        InProcessMonitor(Path(directory)) as monitor,
    ):
        for number in range(3):
            monitor.define_group(number)
            monitor.hand_over(number)
        monitor.define_domain(groups=(0, 1, 2))
        guest = monitor.adopt(number=PORT, steps=port(3), send_bytes=4096)
        device, last = SerialDevice(guest), dict.fromkeys(range(3), 0)
        for turn in [*turns, "serve", "pump", "serve", "pump", "serve"]:
            if isinstance(turn, list):
                for vcpu, step in turn:
                    device.write(vcpu << 4 | step)
                    last[vcpu] = step
            elif turn == "pump":
                device.pump()
            else:
                monitor.run_until_idle()
        for vcpu, step in last.items():
            assert monitor.frequency(vcpu) >= STEPS[step]


def test_a_vcpu_without_a_request_gets_no_vote_by_it(monitor: InProcessMonitor) -> None:
    guest = connected(monitor, is_taken=False)
    fill(monitor, guest, FIRST | 3)
    assert monitor.reports == [reports.TakeWanted(0)]


# Beside other votes


def test_of_both_kinds_the_higher_request_counts(monitor: InProcessMonitor) -> None:
    driver = connected(monitor)
    agent = monitor.adopt(number=PACKETS)
    agent_requests = encode(Request(0, Unit.SCALE_MIN))
    assert monitor.request(agent, agent_requests) == ack(0, Unit.SCALE_MIN)
    assert monitor.frequency(0) == LOWEST
    send(monitor, driver, FIRST | 1)
    assert monitor.frequency(0) == NOMINAL
    # twice: the second time by a plan
    for _ in range(2):
        assert monitor.request(agent, agent_requests) == ack(0, Unit.SCALE_MIN)
        assert monitor.frequency(0) == NOMINAL
    send(monitor, driver, FIRST | 3)
    assert monitor.frequency(0) == LOWEST
    maximum = encode(Request(0, Unit.SCALE_MAX))
    assert monitor.request(agent, maximum) == ack(0, Unit.SCALE_MAX)
    assert monitor.frequency(0) == TURBO
    agent.close()
    monitor.run_until_idle()
    assert monitor.frequency(0) == LOWEST
    driver.close()
    monitor.run_until_idle()
    assert monitor.frequency(0) == TURBO


def test_a_connect_vote_does_not_count_beside_it(monitor: InProcessMonitor) -> None:
    driver = connected(monitor)
    agent = monitor.adopt(number=PACKETS)
    monitor.request(agent, encode_connect())
    send(monitor, driver, FIRST | 3)
    assert monitor.frequency(0) == LOWEST


def test_beside_a_policy_the_higher_vote_counts(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    send(monitor, guest, FIRST | 3)
    monitor.apply(commands.SetPolicyVote("0", 0, MIDDLE))
    assert monitor.frequency(0) == MIDDLE
    send(monitor, guest, FIRST | 1)
    assert monitor.frequency(0) == NOMINAL


def test_threads_of_a_core_and_following_groups_get_it_too(
    monitor: InProcessMonitor,
) -> None:
    for number in (0, 1, 2):
        monitor.define_group(number)
        monitor.hand_over(number)
    monitor.define_domain(groups=(0,), siblings=(1,), following=(2,))
    guest = monitor.adopt(number=PORT, steps=port(1))
    send(monitor, guest, FIRST | 3)
    assert [monitor.frequency(number) for number in range(3)] == [LOWEST] * 3
    monitor.define_group(1, override_khz=NOMINAL)
    send(monitor, guest, FIRST | 2)
    assert monitor.reasons(number=PORT) == {"overridden": 1}
    assert monitor.frequency(0) == MIDDLE


# Hostile guests


def test_a_guest_that_exceeds_its_budget_is_not_read(
    monitor: InProcessMonitor,
) -> None:
    monitor.registry.budget = 100
    guest = connected(monitor)
    for count in (50, 100):
        send(monitor, guest, *[FIRST | 3] * 50)
        assert requests(monitor) == count
    send(monitor, guest, FIRST | 2)  # read, and then no more
    send(monitor, guest, FIRST | 1)
    assert requests(monitor) == 101
    assert monitor.counts(number=PORT)["throttled"] == 1
    monitor.now_ns += SECOND_NS
    monitor.run_pass()
    monitor.run_pass()
    assert monitor.frequency(0) == NOMINAL
    assert requests(monitor) == 102


def test_a_configured_generation_concerns_packets_only(
    monitor: InProcessMonitor,
) -> None:
    guest = connected(monitor)
    monitor.define_domain(groups=(0, 1), generation=464)
    data = encode(Request(0, Unit.SCALE_MIN))
    assert monitor.request(guest, data) == b""
    assert requests(monitor) == len(data)
    assert monitor.generation(number=PORT) == (None, False)


@settings(max_examples=examples(100), deadline=None)
@given(reads=st.lists(st.binary(min_size=1, max_size=200), max_size=20))
def test_whatever_arrives_is_counted_and_harms_nothing(reads: list[bytes]) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        InProcessMonitor(Path(directory)) as monitor,
    ):
        guest = connected(monitor)
        neighbor = monitor.adopt(number=PACKETS)
        for data in reads:
            assert monitor.request(guest, data) == b""
        everything = b"".join(reads)
        bad = [byte for byte in everything if byte >> 4 > 1 or byte & 15 >= len(STEPS)]
        found = monitor.reasons(number=PORT)
        assert monitor.counts(number=PORT).get("unanswered", 0) == len(everything)
        assert sum(found.values()) == len(bad)
        assert set(found) <= {"no-vcpu", "no-step"}
        for vcpu in (0, 1):
            valid = [b & 15 for b in everything if b >> 4 == vcpu and b & 15 < 4]
            if valid and max(map(len, reads)) < 50:
                assert monitor.frequency(vcpu) == STEPS[valid[-1]]
        highest = encode(Request(0, Unit.SCALE_MAX))
        assert monitor.request(neighbor, highest) == ack(0, Unit.SCALE_MAX)


def test_a_million_requests_are_all_counted(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    guest.settimeout(60)
    pattern = bytes([FIRST | 3, SECOND | 2, FIRST | 9, 0xF0])

    def write() -> None:
        guest.sendall(pattern * (REQUESTS // len(pattern)))

    writer = threading.Thread(target=write)
    writer.start()
    while requests_so_far(monitor) < REQUESTS:
        events = monitor.epoll_set.wait(60, 64)
        assert events, f"only {requests_so_far(monitor)} arrived"
        monitor.now_ns += SECOND_NS  # no pause is long
        monitor.loop.handle(events, monitor.now_ns)
    writer.join()
    assert requests(monitor) == REQUESTS
    quarter = REQUESTS // 4
    assert monitor.reasons(number=PORT) == {"no-step": quarter, "no-vcpu": quarter}
    guest.settimeout(0)
    assert receive(guest) == b""


def requests_so_far(monitor: InProcessMonitor) -> int:
    return monitor.counts(number=PORT).get("unanswered", 0)


def test_the_time_of_the_last_request_is_kept(monitor: InProcessMonitor) -> None:
    guest = connected(monitor)
    monitor.now_ns = 5 * SECOND_NS
    send(monitor, guest, FIRST | 3)
    assert monitor.table.words[channel_at(PORT) + LAST_RECEIVED] == 5 * SECOND_NS
