"""The life of a clock group, over the deaths of a monitor and of main."""

from __future__ import annotations

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.monitor import messages
from orchestrator.monitor.claims import RETRY_NS
from orchestrator.monitor.clock import Stage
from orchestrator.monitor.table import VOTE, VOTER, Voter, pack_voter, vcpu_at
from tests.monitor.workbench import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SECOND_NS,
    TURBO,
    Workbench,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
TAKEN, NOT_TAKEN = messages.AnswerTake(0, True), messages.AnswerTake(0, False)  # noqa: FBT003
YIELDED = messages.GroupYielded(0)


def _stage(bench: Workbench, number: int = 0) -> Stage:
    return bench.claims.clocks[number].stage


# A group's life


def test_a_group_without_votes_is_kept_for_a_while_and_then_yielded(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.WithdrawVotes(0, 0, None))
    bench.now_ns += SECOND_NS - 1
    bench.turn()
    assert (bench.reports, bench.clock()) == ([], TURBO)
    bench.now_ns += 1
    bench.turn()
    assert (bench.reports, bench.grant()) == ([YIELDED], 0)
    assert bench.claims.deadlines == {}


def test_a_vote_in_time_keeps_the_group(bench: Workbench) -> None:
    guest = bench.simple()
    bench.now_ns += SECOND_NS // 2
    bench.ask(guest, encode(Request(0, MIN)))
    bench.now_ns += 10 * SECOND_NS
    bench.turn()
    assert bench.reports == []


def test_a_yielded_group_is_wanted_again_by_the_next_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.now_ns += SECOND_NS
    bench.turn()
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    assert bench.reports == [YIELDED, messages.TakeWanted(0)]
    assert bench.clock() == TURBO
    bench.tell(TAKEN)
    assert bench.clock() == LOWEST


def test_an_overridden_group_is_kept_without_votes(bench: Workbench) -> None:
    bench.define_group(override_khz=MIDDLE)
    bench.hand_over()
    bench.now_ns += 10 * SECOND_NS
    bench.turn()
    assert (bench.reports, bench.clock()) == ([], MIDDLE)
    bench.define_group()
    bench.now_ns += SECOND_NS
    bench.turn()
    assert bench.reports == [YIELDED]


def test_a_paused_domain_s_vote_keeps_its_group(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_domain(is_executing=False)
    bench.now_ns += 10 * SECOND_NS
    bench.turn()
    assert (bench.reports, bench.clock()) == ([], TURBO)


def test_a_group_that_could_not_be_taken_is_asked_for_again_after_a_while(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.define_domain()
    guest = bench.adopt()
    bench.ask(guest, encode_connect())
    bench.tell(NOT_TAKEN)
    bench.now_ns += RETRY_NS - 1
    bench.ask(guest, encode_connect())
    assert bench.reports == [messages.TakeWanted(0)]
    bench.now_ns += 1
    bench.ask(guest, encode_connect())
    assert bench.reports == [messages.TakeWanted(0)] * 2


def test_a_group_is_not_taken_without_its_descriptors(bench: Workbench) -> None:
    bench.define_group()
    bench.tell(TAKEN)
    assert _stage(bench) is Stage.UNTAKEN


def test_handing_a_taken_group_over_again_writes_its_clock_again(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.path().write_text("lost while offline\n")
    bench.hand_over()
    assert bench.clock() == LOWEST


def test_a_group_that_is_taken_back_is_written_no_more(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.TakeBack(0))
    bench.path().write_text("main's\n")
    bench.define_group(min_khz=MIDDLE)
    assert (bench.path().read_text(), bench.grant()) == ("main's\n", 0)
    assert not bench.claims.clocks[0].is_handed_over


def test_lost_descriptors_are_reported_as_a_refusal(bench: Workbench) -> None:
    bench.define_group()
    bench.tell(messages.HandOver(0, True, ("ondemand\n",), ("userspace",)), ())  # noqa: FBT003
    assert bench.reports == [messages.WriteRefused(0, 24)]
    assert _stage(bench) is Stage.UNTAKEN


def test_a_lost_socket_is_reported_as_closed(bench: Workbench) -> None:
    bench.define_domain()
    bench.tell(messages.Adopt(0, 3, 3, 8, True), ())  # noqa: FBT003
    closed = messages.EndpointClosed(0, 3, 8, "too many open files")
    assert bench.reports == [closed]


def test_a_channel_of_an_unknown_domain_is_closed_and_reported(
    bench: Workbench,
) -> None:
    guest = bench.adopt(domain=9)
    assert receive(guest) == b""
    gone = messages.EndpointClosed(9, 0, 1, "its domain is gone")
    assert bench.reports == [gone]


def test_what_refers_to_something_unknown_is_ignored(bench: Workbench) -> None:
    for message in (
        TAKEN,
        messages.TakeBack(5),
        messages.ConfirmRelease(5),
        messages.CloseChannel(5, 0),
        messages.SwitchChannel(5, 0, True),  # noqa: FBT003
        messages.WithdrawVotes(5, None, None),
        messages.ForgetDomain(5, ()),
        messages.Ready(1),
    ):
        bench.tell(message)
    assert bench.reports == []


# After the death of a monitor


def _leave_vote(bench: Workbench, khz: int, voter: int, *, turbo: bool = True) -> None:
    """Put a vote where a monitor before this one would have left it."""
    words, at = bench.table.words, vcpu_at(0)
    words[at + VOTE] = khz
    words[at + VOTER] = pack_voter(Voter(voter, has_turbo_right=turbo))


def test_a_greeting_in_the_table_is_still_only_a_greeting(bench: Workbench) -> None:
    words, at = bench.table.words, vcpu_at(0)
    words[at + VOTE] = TURBO
    words[at + VOTER] = pack_voter(Voter(0, is_greeting=True))
    bench.define_group()
    bench.define_domain()
    bench.hand_over()
    bench.tell(messages.SetPolicyVote(0, 0, LOWEST))
    assert bench.clock() == LOWEST


def test_a_vote_in_the_table_is_taken_up_and_written(bench: Workbench) -> None:
    _leave_vote(bench, LOWEST, voter=0)
    bench.define_group()
    bench.define_domain()
    bench.hand_over()
    assert (bench.clock(), bench.vote()) == (LOWEST, LOWEST)
    guest = bench.adopt()
    assert bench.ask(guest, encode(Request(0, UP))) == encode(Request(0, UP))
    assert bench.clock() == MIDDLE


def test_a_vote_that_was_taken_up_ends_with_its_channel(bench: Workbench) -> None:
    _leave_vote(bench, LOWEST, voter=0)
    bench.define_group()
    bench.define_domain()
    bench.hand_over()
    bench.tell(messages.CloseChannel(0, 0))  # it could not be connected again
    assert (bench.clock(), bench.vote()) == (TURBO, 0)


def test_a_turbo_switch_is_taken_up(bench: Workbench) -> None:
    _leave_vote(bench, LOWEST, voter=0, turbo=False)
    bench.define_group()
    bench.define_domain()
    bench.hand_over()
    bench.ask(bench.adopt(), encode(Request(0, MAX)))
    assert bench.clock() == NOMINAL


def test_a_vote_is_not_taken_up_by_a_vcpu_that_floats_now(bench: Workbench) -> None:
    _leave_vote(bench, LOWEST, voter=0)
    bench.define_domain(groups=(None,))
    assert bench.vote() == 0


# Main's death


def test_originals_go_back_from_the_moment_that_main_was_asked_to_take(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over(is_taken=False)
    bench.define_domain()
    changed = [bench.claims.clocks[0].is_changed]
    bench.ask(bench.adopt(), encode_connect())
    changed.append(bench.claims.clocks[0].is_changed)
    assert changed == [False, True]
    bench.governor().write_text("userspace\n")
    bench.claims.clocks[0].restore()
    assert bench.governor().read_text() == "schedutil\n"


def test_a_governor_that_somebody_has_changed_since_stays(bench: Workbench) -> None:
    bench.simple()
    bench.governor().write_text("performance\n")
    bench.claims.clocks[0].restore()
    assert bench.governor().read_text() == "performance\n"


def test_a_yielded_group_is_main_s_again_when_main_says_so(bench: Workbench) -> None:
    bench.simple()
    bench.now_ns += SECOND_NS
    bench.turn()
    clock = bench.claims.clocks[0]
    assert (clock.stage, clock.is_changed) == (Stage.YIELDED, True)
    bench.tell(messages.ConfirmRelease(0))
    assert (clock.stage, clock.is_changed) == (Stage.UNTAKEN, False)
