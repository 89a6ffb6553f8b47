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


def test_a_group_that_main_takes_for_the_operator_is_ours_to_restore_at_once(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    changed = [monitor.groups.clocks[0].is_changed]
    monitor.define_group(override_khz=MIDDLE)
    changed.append(monitor.groups.clocks[0].is_changed)
    monitor.hand_over(is_taken=False)  # its originals were read anew
    changed.append(monitor.groups.clocks[0].is_changed)
    monitor.tell(TAKEN)
    monitor.define_group()
    changed.append(monitor.groups.clocks[0].is_changed)
    monitor.tell(commands.TakeBack(0))
    changed.append(monitor.groups.clocks[0].is_changed)
    assert changed == [False, True, True, True, False]


def test_who_comes_into_a_group_without_a_vote_is_not_slowed_by_who_was_there(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.define_domain(1, groups=(None,))
    assert monitor.clock() == LOWEST
    monitor.define_domain(1, groups=(0,))
    assert monitor.clock() == TURBO
    monitor.define_domain(1, groups=(None,))
    assert monitor.clock() == LOWEST


# Votes end


def test_a_vote_ends_with_its_endpoint(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    guest.close()
    monitor.turn()
    assert (monitor.vote(), monitor.clock()) == (0, TURBO)
    assert monitor.reports == [reports.EndpointClosed("0", 0, 1, "hung up")]


def test_a_vote_ends_with_the_channel_that_made_it_and_with_no_other(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    maker, other = monitor.adopt(number=1), monitor.adopt(number=2)
    monitor.ask(maker, encode(Request(0, MIN)))
    other.close()
    monitor.turn()
    assert monitor.clock() == LOWEST
    monitor.tell(commands.WithdrawVotes("0", 2, None))
    assert monitor.clock() == LOWEST
    monitor.tell(commands.WithdrawVotes("0", 1, None))
    assert monitor.clock() == TURBO


def test_what_arrives_while_votes_are_withdrawn_keeps_its_vote(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    # Main looked at the channel before this request, and we hear of it after.
    monitor.tell(commands.WithdrawVotes("0", 0, monitor.now_ns - 1))
    assert monitor.clock() == LOWEST
    monitor.tell(commands.WithdrawVotes("0", 0, monitor.now_ns))
    assert monitor.clock() == TURBO


def test_the_last_channel_to_ask_for_a_vcpu_owns_its_vote(
    monitor: InProcessMonitor,
) -> None:
    first = monitor.simple()
    second = monitor.adopt(number=1)
    monitor.ask(first, encode(Request(0, MIN)))
    monitor.ask(second, encode(Request(0, DOWN)))
    first.close()
    monitor.turn()
    assert monitor.clock() == LOWEST
    second.close()
    monitor.turn()
    assert monitor.clock() == TURBO


def test_a_reboot_ends_all_votes_of_the_domain(monitor: InProcessMonitor) -> None:
    for group in (0, 1):
        monitor.define_group(group)
        monitor.hand_over(group)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt()
    monitor.ask(guest, encode(Request(0, MIN)) + encode(Request(1, DISABLE)))
    monitor.tell(commands.WithdrawVotes("0", None, None))
    assert (monitor.clock(0), monitor.clock(1)) == (TURBO, TURBO)
    monitor.ask(guest, encode(Request(1, MAX)))
    assert monitor.clock(1) == TURBO


def test_an_unplugged_vcpu_loses_its_vote(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0, 0))
    guest = monitor.adopt()
    monitor.ask(guest, encode(Request(0, MIN)) + encode(Request(1, DOWN)))
    assert monitor.clock() == NOMINAL
    monitor.define_domain(groups=(0,))
    assert (monitor.clock(), monitor.vote(1)) == (LOWEST, 0)


def test_a_vcpu_that_moves_to_another_group_loses_its_vote(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.define_group(1)
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.define_domain(groups=(1,))
    assert (monitor.clock(), monitor.vote()) == (TURBO, 0)


def test_a_vcpu_that_floats_now_loses_its_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.define_domain(groups=(None,))
    assert (monitor.clock(), monitor.vote()) == (TURBO, 0)


def test_a_definition_that_says_the_same_changes_nothing(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.path().write_text("untouched\n")
    monitor.define_domain()
    monitor.define_group()
    assert (monitor.path().read_text(), monitor.vote()) == ("untouched\n", LOWEST)


def test_a_forgotten_domain_leaves_no_channel_vote_or_counter(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.tell(commands.ForgetDomain("0", (0,)))
    assert guest.recv(1) == b""
    assert (monitor.vote(), monitor.counts(), monitor.clock()) == (0, {}, TURBO)
    assert monitor.reports == []
    assert monitor.groups.clocks[0].group.members == []


def test_a_closed_channel_loses_its_votes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.tell(commands.CloseChannel("0", 0))
    assert guest.recv(1) == b""
    assert (monitor.vote(), monitor.clock(), monitor.reports) == (0, TURBO, [])


# Bounds change under a vote


def test_bounds_of_a_domain_change_under_its_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MAX)))
    monitor.define_domain(max_khz=MIDDLE)
    assert monitor.clock() == MIDDLE
    monitor.ask(guest, encode(Request(0, MAX)))
    assert monitor.clock() == MIDDLE
    monitor.define_domain()
    assert monitor.clock() == TURBO


def test_bounds_of_the_host_change_under_a_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.define_group(min_khz=MIDDLE)
    assert monitor.clock() == MIDDLE
    assert monitor.ask(guest, encode(Request(0, MIN))) == encode(Request(0, MIN))
    assert monitor.clock() == MIDDLE
    monitor.define_group()
    assert monitor.clock() == LOWEST


def test_the_operator_forbids_turbo_under_a_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MAX)))
    monitor.define_domain(is_turbo_allowed=False)
    assert monitor.clock() == NOMINAL
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.ask(guest, encode(Request(0, MAX)))
    assert monitor.clock() == NOMINAL


def test_a_group_that_gets_host_cpus_is_not_slowed_any_more(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.define_group(has_host_cpus=True)
    assert monitor.clock() == TURBO
    monitor.ask(guest, encode(Request(0, MIN)))
    assert monitor.clock() == TURBO


def test_other_steps_of_a_group_leave_votes_on_steps_that_it_has(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.define_group(steps=(NOMINAL, 1_500_000, 800_000), max_khz=NOMINAL)
    assert monitor.clock() == 1_500_000
