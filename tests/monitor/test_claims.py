from __future__ import annotations

from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.monitor import messages
from tests.monitor.workbench import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    TURBO,
    Workbench,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
TAKEN, NOT_TAKEN = messages.AnswerTake(0, True), messages.AnswerTake(0, False)  # noqa: FBT003


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
    bench.tell(messages.WithdrawVotes(0, 2, None))
    assert bench.clock() == LOWEST
    bench.tell(messages.WithdrawVotes(0, 1, None))
    assert bench.clock() == TURBO


def test_what_arrives_while_votes_are_withdrawn_keeps_its_vote(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    # Main looked at the channel before this request, and we hear of it after.
    bench.tell(messages.WithdrawVotes(0, 0, bench.now_ns - 1))
    assert bench.clock() == LOWEST
    bench.tell(messages.WithdrawVotes(0, 0, bench.now_ns))
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
    bench.tell(messages.WithdrawVotes(0, None, None))
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
