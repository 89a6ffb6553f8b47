# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.monitor.link import commands, reports
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    TURBO,
    InProcessMonitor,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
TAKEN, NOT_TAKEN = commands.AnswerTake(0, True), commands.AnswerTake(0, False)  # noqa: FBT003


def test_a_group_that_is_taken_for_an_override_is_restored_from_then_on(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    changed = [monitor.groups.clocks[0].is_changed]
    monitor.define_group(override_khz=MIDDLE)
    changed.append(monitor.groups.clocks[0].is_changed)
    monitor.hand_over(is_taken=False)  # its originals were read again
    changed.append(monitor.groups.clocks[0].is_changed)
    monitor.apply(TAKEN)
    monitor.define_group()
    changed.append(monitor.groups.clocks[0].is_changed)
    monitor.apply(commands.CloseGroup(0))
    changed.append(monitor.groups.clocks[0].is_changed)
    assert changed == [False, True, True, True, False]


def test_a_vcpu_that_joins_a_group_without_a_vote_is_not_slowed(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_domain(1, groups=(None,))
    assert monitor.frequency() == LOWEST
    monitor.define_domain(1, groups=(0,))
    assert monitor.frequency() == TURBO
    monitor.define_domain(1, groups=(None,))
    assert monitor.frequency() == LOWEST


# Votes end


def test_a_vote_ends_with_its_endpoint(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    guest.close()
    monitor.run_pass()
    assert (monitor.vote(), monitor.frequency()) == (0, TURBO)
    assert monitor.reports == [reports.EndpointClosed("0", 0, 1, "hung up")]


def test_a_vote_ends_with_the_channel_that_made_it_and_with_no_other(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    maker, other = monitor.adopt(number=1), monitor.adopt(number=2)
    monitor.request(maker, encode(Request(0, MIN)))
    other.close()
    monitor.run_pass()
    assert monitor.frequency() == LOWEST
    monitor.apply(commands.WithdrawVotes("0", 2, None))
    assert monitor.frequency() == LOWEST
    monitor.apply(commands.WithdrawVotes("0", 1, None))
    assert monitor.frequency() == TURBO


def test_a_request_that_arrives_during_a_withdrawal_keeps_its_vote(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    # Main checked the channel before this request, and its command arrives after it.
    monitor.apply(commands.WithdrawVotes("0", 0, monitor.now_ns - 1))
    assert monitor.frequency() == LOWEST
    monitor.apply(commands.WithdrawVotes("0", 0, monitor.now_ns))
    assert monitor.frequency() == TURBO


def test_the_last_channel_to_ask_for_a_vcpu_owns_its_vote(
    monitor: InProcessMonitor,
) -> None:
    first = monitor.simple()
    second = monitor.adopt(number=1)
    monitor.request(first, encode(Request(0, MIN)))
    monitor.request(second, encode(Request(0, DOWN)))
    first.close()
    monitor.run_pass()
    assert monitor.frequency() == LOWEST
    second.close()
    monitor.run_pass()
    assert monitor.frequency() == TURBO


def test_a_reboot_ends_all_votes_of_the_domain(monitor: InProcessMonitor) -> None:
    for group in (0, 1):
        monitor.define_group(group)
        monitor.hand_over(group)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt()
    monitor.request(guest, encode(Request(0, MIN)) + encode(Request(1, DISABLE)))
    monitor.apply(commands.WithdrawVotes("0", None, None))
    assert (monitor.frequency(0), monitor.frequency(1)) == (TURBO, TURBO)
    monitor.request(guest, encode(Request(1, MAX)))
    assert monitor.frequency(1) == TURBO


def test_an_unplugged_vcpu_loses_its_vote(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0, 0))
    guest = monitor.adopt()
    monitor.request(guest, encode(Request(0, MIN)) + encode(Request(1, DOWN)))
    assert monitor.frequency() == NOMINAL
    monitor.define_domain(groups=(0,))
    assert (monitor.frequency(), monitor.vote(1)) == (LOWEST, 0)


def test_a_vcpu_that_moves_to_another_group_loses_its_vote(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_group(1)
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_domain(groups=(1,))
    assert (monitor.frequency(), monitor.vote()) == (TURBO, 0)


def test_a_vcpu_that_floats_now_loses_its_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_domain(groups=(None,))
    assert (monitor.frequency(), monitor.vote()) == (TURBO, 0)


def test_the_same_definition_again_changes_nothing(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.path().write_text("untouched\n")
    monitor.define_domain()
    monitor.define_group()
    assert (monitor.path().read_text(), monitor.vote()) == ("untouched\n", LOWEST)


def test_a_forgotten_domain_leaves_no_channel_vote_or_counter(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(commands.ForgetDomain("0", (0,)))
    assert guest.recv(1) == b""
    assert (monitor.vote(), monitor.counts(), monitor.frequency()) == (0, {}, TURBO)
    assert monitor.reports == []
    assert monitor.groups.clocks[0].group.members == []


def test_a_closed_channel_loses_its_votes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(commands.CloseChannel("0", 0))
    assert guest.recv(1) == b""
    assert (monitor.vote(), monitor.frequency(), monitor.reports) == (0, TURBO, [])


# Limits change under a vote


def test_limits_of_a_domain_apply_to_its_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MAX)))
    monitor.define_domain(max_khz=MIDDLE)
    assert monitor.frequency() == MIDDLE
    monitor.request(guest, encode(Request(0, MAX)))
    assert monitor.frequency() == MIDDLE
    monitor.define_domain()
    assert monitor.frequency() == TURBO


def test_limits_of_the_host_apply_to_a_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_group(min_khz=MIDDLE)
    assert monitor.frequency() == MIDDLE
    assert monitor.request(guest, encode(Request(0, MIN))) == encode(Request(0, MIN))
    assert monitor.frequency() == MIDDLE
    monitor.define_group()
    assert monitor.frequency() == LOWEST


def test_forbidding_turbo_applies_to_a_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MAX)))
    monitor.define_domain(is_turbo_allowed=False)
    assert monitor.frequency() == NOMINAL
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.request(guest, encode(Request(0, MAX)))
    assert monitor.frequency() == NOMINAL


def test_a_group_that_gets_host_cpus_is_no_longer_slowed(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_group(has_host_cpus=True)
    assert monitor.frequency() == TURBO
    monitor.request(guest, encode(Request(0, MIN)))
    assert monitor.frequency() == TURBO


def test_after_a_change_of_steps_votes_are_steps_of_the_new_table(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_group(steps=(NOMINAL, 1_500_000, 800_000), max_khz=NOMINAL)
    assert monitor.frequency() == 1_500_000
