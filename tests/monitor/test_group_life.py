# SPDX-License-Identifier: Apache-2.0
"""The life of a clock group, including the death of a monitor and of main."""

from __future__ import annotations

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.table import VOTE, VOTER, Voter, pack_voter, vcpu_at
from orchestrator.monitor.process.clock import Stage
from orchestrator.monitor.process.clock_groups import RETRY_NS
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SECOND_NS,
    TURBO,
    InProcessMonitor,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
TAKEN, NOT_TAKEN = commands.AnswerTake(0, True), commands.AnswerTake(0, False)  # noqa: FBT003
YIELDED = reports.GroupYielded(0)


def _stage(monitor: InProcessMonitor, number: int = 0) -> Stage:
    return monitor.groups.clocks[number].stage


# A group's life


def test_a_group_without_votes_is_kept_for_a_while_and_then_yielded(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(commands.WithdrawVotes("0", 0, None))
    monitor.now_ns += SECOND_NS - 1
    monitor.run_pass()
    assert (monitor.reports, monitor.frequency()) == ([], TURBO)
    monitor.now_ns += 1
    monitor.run_pass()
    assert (monitor.reports, monitor.grant()) == ([YIELDED], 0)
    assert monitor.groups.deadlines == {}


def test_a_vote_in_time_keeps_the_group(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.now_ns += SECOND_NS // 2
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.now_ns += 10 * SECOND_NS
    monitor.run_pass()
    assert monitor.reports == []


def test_the_next_vote_takes_a_yielded_group_again(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.now_ns += SECOND_NS
    monitor.run_pass()
    assert monitor.request(guest, encode(Request(0, MIN))) == b""
    assert monitor.reports == [YIELDED, reports.TakeWanted(0)]
    assert monitor.frequency() == TURBO
    monitor.apply(TAKEN)
    assert monitor.frequency() == LOWEST


def test_an_overridden_group_is_kept_without_votes(monitor: InProcessMonitor) -> None:
    monitor.define_group(override_khz=MIDDLE)
    monitor.hand_over()
    monitor.now_ns += 10 * SECOND_NS
    monitor.run_pass()
    assert (monitor.reports, monitor.frequency()) == ([], MIDDLE)
    monitor.define_group()
    monitor.run_pass()
    assert monitor.reports == [YIELDED], "an operator who releases it wants it now"


def test_a_group_with_votes_is_kept_when_its_override_is_released(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_group(override_khz=MIDDLE)
    monitor.define_group()
    monitor.run_pass()
    assert (monitor.reports, monitor.frequency()) == ([], LOWEST)


def test_votes_that_main_resumes_are_restored_from_then_on(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    words = monitor.table.words
    words[vcpu_at(0) + VOTE] = LOWEST
    words[vcpu_at(0) + VOTER] = pack_voter(Voter(0))
    monitor.define_domain()
    assert monitor.groups.clocks[0].is_changed, "main takes it without being asked"
    monitor.hand_over(is_taken=False)
    monitor.apply(TAKEN)
    assert monitor.frequency() == LOWEST


def test_a_paused_domain_s_vote_keeps_its_group(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.define_domain(is_executing=False)
    monitor.now_ns += 10 * SECOND_NS
    monitor.run_pass()
    assert (monitor.reports, monitor.frequency()) == ([], TURBO)


def test_a_group_that_could_not_be_taken_is_tried_again_after_a_while(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.define_domain()
    guest = monitor.adopt()
    monitor.request(guest, encode_connect())
    monitor.apply(NOT_TAKEN)
    monitor.now_ns += RETRY_NS - 1
    monitor.request(guest, encode_connect())
    assert monitor.reports == [reports.TakeWanted(0)]
    monitor.now_ns += 1
    monitor.request(guest, encode_connect())
    assert monitor.reports == [reports.TakeWanted(0)] * 2


def test_a_group_is_not_taken_without_its_descriptors(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.apply(TAKEN)
    assert _stage(monitor) is Stage.UNTAKEN


def test_handing_a_taken_group_over_again_writes_its_frequency_again(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.path().write_text("lost while offline\n")
    monitor.hand_over()
    assert monitor.frequency() == LOWEST


def test_a_closed_group_is_no_longer_written(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(commands.CloseGroup(0))
    monitor.path().write_text("main's\n")
    monitor.define_group(min_khz=MIDDLE)
    assert (monitor.path().read_text(), monitor.grant()) == ("main's\n", 0)
    assert not monitor.groups.clocks[0].is_handed_over


def test_lost_descriptors_are_reported_as_a_refusal(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    command = commands.HandOver(
        0, is_taken=True, originals=("ondemand\n",), taken_values=("",), writer="limits"
    )
    monitor.apply(command, ())
    assert monitor.reports == [reports.WriteRefused(0, 24)]
    assert _stage(monitor) is Stage.UNTAKEN


def test_a_lost_socket_is_reported_as_closed(monitor: InProcessMonitor) -> None:
    monitor.define_domain()
    monitor.apply(commands.Adopt("0", 3, 3, 8, True), ())  # noqa: FBT003
    closed = reports.EndpointClosed("0", 3, 8, "too many open files")
    assert monitor.reports == [closed]


def test_a_channel_of_an_unknown_domain_is_closed_and_reported(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.adopt(domain=9)
    assert receive(guest) == b""
    gone = reports.EndpointClosed("9", 0, 1, "domain is gone")
    assert monitor.reports == [gone]


def test_commands_about_something_unknown_are_ignored(
    monitor: InProcessMonitor,
) -> None:
    for message in (
        TAKEN,
        commands.CloseGroup(5),
        commands.ConfirmRelease(5),
        commands.CloseChannel("5", 0),
        commands.SwitchChannel("5", 0, True),  # noqa: FBT003
        commands.WithdrawVotes("5", None, None),
        commands.ForgetDomain("5", ()),
        commands.Ping(),
    ):
        monitor.apply(message)
    assert monitor.reports == []


# After the death of a monitor


def _leave_vote(
    monitor: InProcessMonitor, khz: int, voter: int, *, turbo: bool = True
) -> None:
    """Put a vote where an earlier monitor would have left it."""
    words, at = monitor.table.words, vcpu_at(0)
    words[at + VOTE] = khz
    words[at + VOTER] = pack_voter(Voter(voter, has_turbo_right=turbo))


def test_a_connect_vote_in_the_table_is_resumed_as_such(
    monitor: InProcessMonitor,
) -> None:
    words, at = monitor.table.words, vcpu_at(0)
    words[at + VOTE] = TURBO
    words[at + VOTER] = pack_voter(Voter(0, is_connect_vote=True))
    monitor.define_group()
    monitor.define_domain()
    monitor.hand_over()
    monitor.apply(commands.SetPolicyVote("0", 0, LOWEST))
    assert monitor.frequency() == LOWEST


def test_a_vote_in_the_table_is_resumed_and_written(monitor: InProcessMonitor) -> None:
    _leave_vote(monitor, LOWEST, voter=0)
    monitor.define_group()
    monitor.define_domain()
    monitor.hand_over()
    assert (monitor.frequency(), monitor.vote()) == (LOWEST, LOWEST)
    guest = monitor.adopt()
    assert monitor.request(guest, encode(Request(0, UP))) == encode(Request(0, UP))
    assert monitor.frequency() == MIDDLE


def test_a_resumed_vote_ends_with_its_channel(
    monitor: InProcessMonitor,
) -> None:
    _leave_vote(monitor, LOWEST, voter=0)
    monitor.define_group()
    monitor.define_domain()
    monitor.hand_over()
    monitor.apply(commands.CloseChannel("0", 0))  # it could not be connected again
    assert (monitor.frequency(), monitor.vote()) == (TURBO, 0)


def test_a_turbo_switch_is_resumed(monitor: InProcessMonitor) -> None:
    _leave_vote(monitor, LOWEST, voter=0, turbo=False)
    monitor.define_group()
    monitor.define_domain()
    monitor.hand_over()
    monitor.request(monitor.adopt(), encode(Request(0, MAX)))
    assert monitor.frequency() == NOMINAL


def test_a_vcpu_that_floats_now_does_not_resume_its_vote(
    monitor: InProcessMonitor,
) -> None:
    _leave_vote(monitor, LOWEST, voter=0)
    monitor.define_domain(groups=(None,))
    assert monitor.vote() == 0


# Main's death


def test_originals_are_restored_once_main_has_been_asked_to_take_the_group(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    monitor.define_domain()
    changed = [monitor.groups.clocks[0].is_changed]
    monitor.request(monitor.adopt(), encode_connect())
    changed.append(monitor.groups.clocks[0].is_changed)
    assert changed == [False, True]
    monitor.governor().write_text("userspace\n")
    monitor.groups.clocks[0].restore()
    assert monitor.governor().read_text() == "schedutil\n"


def test_a_governor_that_another_program_has_changed_is_kept(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.governor().write_text("performance\n")
    monitor.groups.clocks[0].restore()
    assert monitor.governor().read_text() == "performance\n"


def test_a_yielded_group_is_left_to_main_when_main_confirms(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.now_ns += SECOND_NS
    monitor.run_pass()
    clock = monitor.groups.clocks[0]
    assert (clock.stage, clock.is_changed) == (Stage.YIELDED, True)
    monitor.apply(commands.ConfirmRelease(0))
    assert (clock.stage, clock.is_changed) == (Stage.UNTAKEN, False)
