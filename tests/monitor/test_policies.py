"""Votes of policies, and the way of guests' policies to main and back."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import (
    Answer,
    Command,
    PolicyPacket,
    Request,
    Unit,
    encode,
    encode_answer,
    encode_connect,
    encode_policy,
)
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.process.allowance import MOST_AT_ONCE, REFILL_NS, Allowance
from orchestrator.monitor.process.answers import LATE_NS
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SECOND_NS,
    TURBO,
    InProcessMonitor,
    receive,
)

MAX, MIN, UP, DISABLE = (
    Unit.SCALE_MAX,
    Unit.SCALE_MIN,
    Unit.SCALE_UP,
    Unit.DISABLE_TURBO,
)
POLICY = encode_policy(PolicyPacket(vm_name=b"me", vcpus=(0,) * 8, num_vcpu=1))
REMOVAL = encode(Request(0, 0, Command.PKT_POLICY_REMOVE))
ACK = encode_answer(POLICY, Answer.ACK)
NACK = encode_answer(POLICY, Answer.NACK)


def _vote(monitor: InProcessMonitor, khz: int, vcpu: int = 0, domain: int = 0) -> None:
    monitor.tell(commands.SetPolicyVote(str(domain), vcpu, khz))


# Votes of policies


def test_a_policy_s_vote_sets_the_clock_without_a_word_of_the_guest(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    _vote(monitor, MIDDLE)
    assert monitor.clock() == MIDDLE
    _vote(monitor, MIDDLE + 1)
    assert monitor.clock() == NOMINAL


@pytest.mark.parametrize("guest_first", [True, False])
def test_the_higher_of_two_votes_counts(
    monitor: InProcessMonitor, *, guest_first: bool
) -> None:
    guest = monitor.simple()
    if guest_first:
        monitor.ask(guest, encode(Request(0, MIN)))
    _vote(monitor, MIDDLE)
    if not guest_first:
        monitor.ask(guest, encode(Request(0, MIN)))
    assert (monitor.clock(), monitor.vote()) == (MIDDLE, LOWEST)
    # The second time there is a plan.
    for unit, clock in ((MAX, TURBO), (MIN, MIDDLE), (MAX, TURBO), (MIN, MIDDLE)):
        assert monitor.ask(guest, encode(Request(0, unit))) == encode(Request(0, unit))
        assert (monitor.clock(), monitor.grant()) == (clock, clock)
    _vote(monitor, 0)
    assert monitor.clock() == LOWEST


def test_a_guest_that_has_only_connected_does_not_outvote_a_policy(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode_connect())
    assert (monitor.clock(), monitor.vote()) == (TURBO, TURBO)
    _vote(monitor, LOWEST)
    assert monitor.clock() == LOWEST
    # What it asks for then counts beside the policy, also if it is the same.
    for _ in range(2):
        assert monitor.ask(guest, encode(Request(0, MAX))) != b""
        assert monitor.clock() == TURBO
    monitor.ask(guest, encode_connect())
    assert monitor.clock() == LOWEST
    _vote(monitor, 0)
    assert monitor.clock() == TURBO


def test_a_policy_s_vote_moves_under_the_plans_of_its_guest(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for policy, clock in ((MIDDLE, MIDDLE), (NOMINAL, NOMINAL), (0, LOWEST)):
        monitor.ask(guest, encode(Request(0, MIN)))
        _vote(monitor, policy)
        assert monitor.clock() == clock
        monitor.ask(guest, encode(Request(0, MIN)))
        assert monitor.clock() == clock


def test_steps_are_counted_from_the_guest_s_own_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN)))
    _vote(monitor, NOMINAL)
    monitor.ask(guest, encode(Request(0, UP)))
    assert (monitor.vote(), monitor.clock()) == (MIDDLE, NOMINAL)


def test_a_policy_s_vote_is_clamped_to_bounds_and_turbo_rights(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.define_domain(min_khz=MIDDLE, max_khz=NOMINAL)
    _vote(monitor, LOWEST)
    assert monitor.clock() == MIDDLE
    _vote(monitor, TURBO)
    assert monitor.clock() == NOMINAL
    monitor.define_domain(is_turbo_allowed=False)
    assert monitor.clock() == NOMINAL
    monitor.define_domain()
    assert monitor.clock() == TURBO


def test_a_policy_s_vote_counts_like_a_guest_s_among_neighbours(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(0)
    monitor.define_domain(1)
    _vote(monitor, LOWEST, domain=0)
    assert monitor.clock() == TURBO
    _vote(monitor, MIDDLE, domain=1)
    assert monitor.clock() == MIDDLE
    monitor.define_domain(1, is_executing=False)
    assert monitor.clock() == LOWEST


def test_what_ends_a_guest_s_vote_leaves_the_policy_s(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for ending in (
        commands.WithdrawVotes("0", None, None),
        commands.SwitchChannel("0", 0, is_enabled=False),
        commands.SwitchChannel("0", 0, is_enabled=True),
        commands.CloseChannel("0", 0),
    ):
        monitor.ask(guest, encode(Request(0, MAX)))
        _vote(monitor, LOWEST)
        monitor.tell(ending)
        assert (monitor.vote(), monitor.clock()) == (0, LOWEST)


@pytest.mark.parametrize("groups", [(), (None,), (1,)])
def test_a_policy_s_vote_ends_with_the_vcpu_s_place(
    monitor: InProcessMonitor, groups: tuple[int | None, ...]
) -> None:
    monitor.simple()
    monitor.define_group(1)
    _vote(monitor, LOWEST)
    monitor.define_domain(groups=groups)
    assert monitor.clock() == TURBO
    monitor.define_domain()
    assert monitor.clock() == TURBO


def test_a_policy_s_vote_ends_with_the_domain(monitor: InProcessMonitor) -> None:
    monitor.simple()
    _vote(monitor, LOWEST)
    monitor.tell(commands.ForgetDomain("0", ()))
    assert monitor.clock() == TURBO


def test_a_policy_s_vote_for_what_is_not_there_is_void(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.define_domain(groups=(None,))
    for vcpu, domain in ((0, 0), (1, 0), (0, 7)):
        _vote(monitor, LOWEST, vcpu, domain)
    monitor.define_domain()
    assert monitor.clock() == TURBO


def test_a_policy_s_vote_takes_the_group_and_holds_it(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    monitor.define_domain()
    _vote(monitor, MIDDLE)
    _vote(monitor, LOWEST)
    assert monitor.reports == [reports.TakeWanted(0)]
    monitor.tell(commands.AnswerTake(0, is_taken=True))
    assert monitor.clock() == LOWEST
    monitor.now_ns += 100 * SECOND_NS
    monitor.turn()
    assert monitor.grant() == LOWEST
    _vote(monitor, 0)
    monitor.now_ns += 2 * SECOND_NS
    monitor.turn()
    assert monitor.reports == [reports.TakeWanted(0), reports.GroupYielded(0)]
    _vote(monitor, MIDDLE)
    assert monitor.reports[2:] == [reports.TakeWanted(0)]


def test_a_policy_s_vote_takes_no_group_that_is_refused_or_observed(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    monitor.define_domain(is_enforced=False)
    _vote(monitor, MIDDLE)
    assert monitor.reports == []
    monitor.define_domain()
    assert monitor.reports == [reports.TakeWanted(0)]
    for khz in (MIDDLE, LOWEST, NOMINAL):
        monitor.tell(commands.AnswerTake(0, is_taken=False))
        _vote(monitor, khz)
    assert monitor.reports == [reports.TakeWanted(0)]
    # Main tries anew by handing over.
    monitor.now_ns += 2 * SECOND_NS
    monitor.hand_over(is_taken=False)
    assert monitor.reports == [reports.TakeWanted(0)] * 2


def test_the_operator_s_clock_stands_above_a_policy(monitor: InProcessMonitor) -> None:
    monitor.simple()
    _vote(monitor, LOWEST)
    monitor.define_group(override_khz=NOMINAL)
    assert monitor.clock() == NOMINAL
    monitor.define_group()
    assert monitor.clock() == LOWEST


# Guests' policies


def test_a_policy_is_passed_to_main_and_answered_by_its_word(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for is_accepted, answer in ((True, ACK), (False, NACK)):
        monitor.reports.clear()
        assert monitor.ask(guest, POLICY) == b""
        (sent,) = monitor.policies()
        assert (sent.uuid, sent.number, sent.adoption) == ("0", 0, 1)
        assert (sent.generation, sent.packet) == (464, POLICY.decode("latin-1"))
        monitor.answer_policy(sent, is_accepted=is_accepted)
        assert receive(guest) == answer
    assert monitor.counts() == {"acks": 1, "nacks": 1}


def test_a_policy_that_cannot_be_installed_is_refused_at_once(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    physical = encode_policy(PolicyPacket(core_type=1))
    refusal = encode_answer(physical, Answer.NACK)
    assert monitor.ask(guest, physical) == refusal
    monitor.define_domain(may_send_policies=False)
    assert monitor.ask(guest, POLICY) == NACK
    monitor.define_domain(is_enforced=False)
    assert monitor.ask(guest, POLICY) == NACK
    monitor.define_domain()
    monitor.tell(commands.SwitchChannel("0", 0, is_enabled=False))
    assert monitor.ask(guest, POLICY) == NACK
    assert monitor.policies() == []
    assert monitor.counts() == {"nacks": 4}


def test_answers_stay_in_order_behind_a_policy(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    low = encode(Request(0, MIN))
    bad = encode(Request(0, 99))
    assert monitor.ask(guest, POLICY + low + bad) == b""
    assert monitor.counts() == {"waiting": 3}
    assert monitor.clock() == LOWEST
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == ACK + low + encode_answer(bad, Answer.NACK)
    assert monitor.ask(guest, low) == low


def test_main_s_words_may_come_in_any_order(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, POLICY * 2)
    first, second = monitor.policies()
    monitor.answer_policy(second, is_accepted=False)
    assert receive(guest) == b""
    monitor.answer_policy(first)
    assert receive(guest) == ACK + NACK


def test_main_s_word_may_come_too_late(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, POLICY)
    monitor.now_ns += LATE_NS
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == b""
    assert monitor.counts() == {"late": 1}


def test_a_main_that_says_nothing_holds_up_no_other_answers(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, POLICY)
    monitor.now_ns += LATE_NS
    low = encode(Request(0, MIN))
    assert monitor.ask(guest, low) == low
    assert monitor.counts() == {"late": 1, "acks": 1}
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == b""
    assert monitor.ask(guest, low) == low


def test_an_answer_for_nobody_is_no_error(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, POLICY)
    (sent,) = monitor.policies()
    monitor.answer_policy(sent._replace(ticket=sent.ticket + 1))
    monitor.answer_policy(sent._replace(number=5))
    monitor.answer_policy(sent._replace(uuid="5"))
    assert receive(guest) == b""


def test_an_answer_that_meets_a_broken_socket_ends_the_channel(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, POLICY)
    (sent,) = monitor.policies()
    guest.close()
    monitor.answer_policy(sent)
    assert reports.EndpointClosed("0", 0, 1, "EPIPE") in monitor.reports


def test_a_removal_is_passed_on_and_not_answered(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    low = encode(Request(0, MIN))
    assert monitor.ask(guest, REMOVAL + low) == low
    assert monitor.reports == [reports.PolicyRemoved("0", 0, 1)]
    assert monitor.counts() == {"acks": 1}


def test_a_flood_of_policies_is_kept_from_main(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    sent = MOST_AT_ONCE - 1
    monitor.ask(guest, POLICY * (sent + 5))
    assert len(monitor.policies()) == sent
    for ticket in monitor.policies():
        monitor.answer_policy(ticket)
    assert receive(guest) == ACK * sent + NACK * 5
    monitor.ask(guest, REMOVAL * 101)
    assert monitor.counts() == {"acks": sent, "nacks": 5, "errors": 100}
    monitor.now_ns += REFILL_NS
    monitor.ask(guest, REMOVAL)
    assert monitor.reports[-1] == reports.PolicyRemoved("0", 0, 1)


def test_who_could_send_a_policy_can_remove_it() -> None:
    allowance, now_ns = Allowance(), SECOND_NS
    for _ in range(1_000):
        if allowance.spend(now_ns, keep=1):
            is_removable = allowance.spend(now_ns, keep=0)
            now_ns += REFILL_NS
        else:
            now_ns += REFILL_NS // 3
            continue
        assert is_removable


def test_connect_and_policies_share_a_burst(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    assert monitor.ask(guest, encode_connect() + POLICY) == b""
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == ACK


# Domains that are only observed


def test_a_domain_that_is_only_observed_holds_no_group(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    low = encode(Request(0, MIN))
    monitor.ask(guest, low)
    _vote(monitor, MIDDLE)
    monitor.define_domain(is_enforced=False)
    assert monitor.clock() == TURBO
    monitor.now_ns += 2 * SECOND_NS
    monitor.turn()
    assert monitor.reports == [reports.GroupYielded(0)]
    # The guest must ask again; the policy's vote stands.
    monitor.define_domain()
    assert monitor.reports[1:] == [reports.TakeWanted(0)]
