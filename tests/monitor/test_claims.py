from __future__ import annotations

import pytest

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


def test_a_group_that_main_takes_for_the_operator_is_ours_to_restore_at_once(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over(is_taken=False)
    changed = [bench.claims.clocks[0].is_changed]
    bench.define_group(override_khz=MIDDLE)
    changed.append(bench.claims.clocks[0].is_changed)
    bench.hand_over(is_taken=False)  # its originals were read anew
    changed.append(bench.claims.clocks[0].is_changed)
    bench.tell(TAKEN)
    bench.define_group()
    changed.append(bench.claims.clocks[0].is_changed)
    bench.tell(messages.TakeBack(0))
    changed.append(bench.claims.clocks[0].is_changed)
    assert changed == [False, True, True, True, False]


def test_who_comes_into_a_group_without_a_vote_is_not_slowed_by_who_was_there(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_domain(1, groups=(None,))
    assert bench.clock() == LOWEST
    bench.define_domain(1, groups=(0,))
    assert bench.clock() == TURBO
    bench.define_domain(1, groups=(None,))
    assert bench.clock() == LOWEST


# Votes end


def test_a_vote_ends_with_its_endpoint(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    guest.close()
    bench.turn()
    assert (bench.vote(), bench.clock()) == (0, TURBO)
    assert bench.reports == [messages.EndpointClosed(0, 0, 1, "hung up")]


def test_a_vote_ends_with_the_channel_that_made_it_and_with_no_other(
    bench: Workbench,
) -> None:
    bench.simple()
    maker, other = bench.adopt(number=1), bench.adopt(number=2)
    bench.ask(maker, encode(Request(0, MIN)))
    other.close()
    bench.turn()
    assert bench.clock() == LOWEST
    bench.tell(messages.WithdrawVotes(0, 2))
    assert bench.clock() == LOWEST
    bench.tell(messages.WithdrawVotes(0, 1))
    assert bench.clock() == TURBO


def test_the_last_channel_to_ask_for_a_vcpu_owns_its_vote(bench: Workbench) -> None:
    first = bench.simple()
    second = bench.adopt(number=1)
    bench.ask(first, encode(Request(0, MIN)))
    bench.ask(second, encode(Request(0, DOWN)))
    first.close()
    bench.turn()
    assert bench.clock() == LOWEST
    second.close()
    bench.turn()
    assert bench.clock() == TURBO


def test_a_reboot_ends_all_votes_of_the_domain(bench: Workbench) -> None:
    for group in (0, 1):
        bench.define_group(group)
        bench.hand_over(group)
    bench.define_domain(groups=(0, 1))
    guest = bench.adopt()
    bench.ask(guest, encode(Request(0, MIN)) + encode(Request(1, DISABLE)))
    bench.tell(messages.WithdrawVotes(0, None))
    assert (bench.clock(0), bench.clock(1)) == (TURBO, TURBO)
    bench.ask(guest, encode(Request(1, MAX)))
    assert bench.clock(1) == TURBO


def test_an_unplugged_vcpu_loses_its_vote(bench: Workbench) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(groups=(0, 0))
    guest = bench.adopt()
    bench.ask(guest, encode(Request(0, MIN)) + encode(Request(1, DOWN)))
    assert bench.clock() == NOMINAL
    bench.define_domain(groups=(0,))
    assert (bench.clock(), bench.vote(1)) == (LOWEST, 0)


def test_a_vcpu_that_moves_to_another_group_loses_its_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.define_group(1)
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_domain(groups=(1,))
    assert (bench.clock(), bench.vote()) == (TURBO, 0)


def test_a_vcpu_that_floats_now_loses_its_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_domain(groups=(None,))
    assert (bench.clock(), bench.vote()) == (TURBO, 0)


def test_a_definition_that_says_the_same_changes_nothing(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.path().write_text("untouched\n")
    bench.define_domain()
    bench.define_group()
    assert (bench.path().read_text(), bench.vote()) == ("untouched\n", LOWEST)


def test_a_forgotten_domain_leaves_no_channel_vote_or_counter(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.ForgetDomain(0, (0,)))
    assert guest.recv(1) == b""
    assert (bench.vote(), bench.counts(), bench.clock()) == (0, {}, TURBO)
    assert bench.reports == []
    assert bench.claims.clocks[0].group.members == []


def test_a_closed_channel_loses_its_votes(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.CloseChannel(0, 0))
    assert guest.recv(1) == b""
    assert (bench.vote(), bench.clock(), bench.reports) == (0, TURBO, [])


# Bounds change under a vote


def test_bounds_of_a_domain_change_under_its_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MAX)))
    bench.define_domain(max_khz=MIDDLE)
    assert bench.clock() == MIDDLE
    bench.ask(guest, encode(Request(0, MAX)))
    assert bench.clock() == MIDDLE
    bench.define_domain()
    assert bench.clock() == TURBO


def test_bounds_of_the_host_change_under_a_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_group(min_khz=MIDDLE)
    assert bench.clock() == MIDDLE
    assert bench.ask(guest, encode(Request(0, MIN))) == encode(Request(0, MIN))
    assert bench.clock() == MIDDLE
    bench.define_group()
    assert bench.clock() == LOWEST


def test_the_operator_forbids_turbo_under_a_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MAX)))
    bench.define_domain(is_turbo_allowed=False)
    assert bench.clock() == NOMINAL
    bench.ask(guest, encode(Request(0, MIN)))
    bench.ask(guest, encode(Request(0, MAX)))
    assert bench.clock() == NOMINAL


def test_a_group_that_gets_host_cpus_is_not_slowed_any_more(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_group(has_host_cpus=True)
    assert bench.clock() == TURBO
    bench.ask(guest, encode(Request(0, MIN)))
    assert bench.clock() == TURBO


def test_other_steps_of_a_group_leave_votes_on_steps_that_it_has(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.define_group(steps=(NOMINAL, 1_500_000, 800_000), max_khz=NOMINAL)
    assert bench.clock() == 1_500_000


# A group's life


def test_a_group_without_votes_is_kept_for_a_while_and_then_yielded(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.WithdrawVotes(0, 0))
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
    bench.tell(messages.HandOver(0, True, ("ondemand\n",)), ())  # noqa: FBT003
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
        messages.WithdrawVotes(5, None),
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


def test_a_yielded_group_is_main_s_again_when_main_says_so(bench: Workbench) -> None:
    bench.simple()
    bench.now_ns += SECOND_NS
    bench.turn()
    clock = bench.claims.clocks[0]
    assert (clock.stage, clock.is_changed) == (Stage.YIELDED, True)
    bench.tell(messages.ConfirmRelease(0))
    assert (clock.stage, clock.is_changed) == (Stage.UNTAKEN, False)


# The loop


def test_a_fault_of_ours_costs_one_guest_its_channel_and_no_other(
    bench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.simple()
    bad, good = bench.adopt(number=1), bench.adopt(number=2)
    endpoint = bench.claims.speakers[next(iter(bench.claims.speakers))][1]
    endpoint.receive = None  # type: ignore[assignment]
    bad.sendall(encode(Request(0, MIN)))
    good.sendall(encode(Request(0, DOWN)))
    bench.turn()
    assert receive(good) == encode(Request(0, DOWN))
    assert "TypeError" in capsys.readouterr().err
    closed = messages.EndpointClosed(0, 1, 1, "a fault of ours")
    assert bench.reports == [closed]


def test_main_s_garbage_is_said_and_survived(
    bench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = bench.simple()
    bench.main.send(b"garbage")
    bench.main.send(messages.encode(messages.TakeBack(0)))
    bench.turn()
    assert "garbage" in capsys.readouterr().err
    assert not bench.claims.clocks[0].is_handed_over
    assert bench.ask(guest, encode_connect()) == b""


def test_main_s_end_is_noticed(bench: Workbench) -> None:
    bench.main.close()
    with pytest.raises(EOFError):
        bench.turn()
