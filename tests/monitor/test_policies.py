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
from orchestrator.monitor import messages
from orchestrator.monitor.answers import LATE_NS
from orchestrator.monitor.policy_desk import MOST_AT_ONCE, REFILL_NS, Allowance
from tests.monitor.workbench import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SECOND_NS,
    TURBO,
    Workbench,
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


def _vote(bench: Workbench, khz: int, vcpu: int = 0, domain: int = 0) -> None:
    bench.tell(messages.SetPolicyVote(domain, vcpu, khz))


# Votes of policies


def test_a_policy_s_vote_sets_the_clock_without_a_word_of_the_guest(
    bench: Workbench,
) -> None:
    bench.simple()
    _vote(bench, MIDDLE)
    assert bench.clock() == MIDDLE
    _vote(bench, MIDDLE + 1)
    assert bench.clock() == NOMINAL


@pytest.mark.parametrize("guest_first", [True, False])
def test_the_higher_of_two_votes_counts(bench: Workbench, guest_first: bool) -> None:  # noqa: FBT001
    guest = bench.simple()
    if guest_first:
        bench.ask(guest, encode(Request(0, MIN)))
    _vote(bench, MIDDLE)
    if not guest_first:
        bench.ask(guest, encode(Request(0, MIN)))
    assert (bench.clock(), bench.vote()) == (MIDDLE, LOWEST)
    # The second time there is a plan.
    for unit, clock in ((MAX, TURBO), (MIN, MIDDLE), (MAX, TURBO), (MIN, MIDDLE)):
        assert bench.ask(guest, encode(Request(0, unit))) == encode(Request(0, unit))
        assert (bench.clock(), bench.grant()) == (clock, clock)
    _vote(bench, 0)
    assert bench.clock() == LOWEST


def test_a_guest_that_has_only_connected_does_not_outvote_a_policy(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect())
    assert (bench.clock(), bench.vote()) == (TURBO, TURBO)
    _vote(bench, LOWEST)
    assert bench.clock() == LOWEST
    # What it asks for then counts beside the policy, also if it is the same.
    for _ in range(2):
        assert bench.ask(guest, encode(Request(0, MAX))) != b""
        assert bench.clock() == TURBO
    bench.ask(guest, encode_connect())
    assert bench.clock() == LOWEST
    _vote(bench, 0)
    assert bench.clock() == TURBO


def test_a_policy_s_vote_moves_under_the_plans_of_its_guest(bench: Workbench) -> None:
    guest = bench.simple()
    for policy, clock in ((MIDDLE, MIDDLE), (NOMINAL, NOMINAL), (0, LOWEST)):
        bench.ask(guest, encode(Request(0, MIN)))
        _vote(bench, policy)
        assert bench.clock() == clock
        bench.ask(guest, encode(Request(0, MIN)))
        assert bench.clock() == clock


def test_steps_are_counted_from_the_guest_s_own_vote(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN)))
    _vote(bench, NOMINAL)
    bench.ask(guest, encode(Request(0, UP)))
    assert (bench.vote(), bench.clock()) == (MIDDLE, NOMINAL)


def test_a_policy_s_vote_is_clamped_to_bounds_and_turbo_rights(
    bench: Workbench,
) -> None:
    bench.simple()
    bench.define_domain(min_khz=MIDDLE, max_khz=NOMINAL)
    _vote(bench, LOWEST)
    assert bench.clock() == MIDDLE
    _vote(bench, TURBO)
    assert bench.clock() == NOMINAL
    bench.define_domain(is_turbo_allowed=False)
    assert bench.clock() == NOMINAL
    bench.define_domain()
    assert bench.clock() == TURBO


def test_a_policy_s_vote_counts_like_a_guest_s_among_neighbours(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(0)
    bench.define_domain(1)
    _vote(bench, LOWEST, domain=0)
    assert bench.clock() == TURBO
    _vote(bench, MIDDLE, domain=1)
    assert bench.clock() == MIDDLE
    bench.define_domain(1, is_executing=False)
    assert bench.clock() == LOWEST


def test_what_ends_a_guest_s_vote_leaves_the_policy_s(bench: Workbench) -> None:
    guest = bench.simple()
    for ending in (
        messages.WithdrawVotes(0, None, None),
        messages.SwitchChannel(0, 0, is_enabled=False),
        messages.SwitchChannel(0, 0, is_enabled=True),
        messages.CloseChannel(0, 0),
    ):
        bench.ask(guest, encode(Request(0, MAX)))
        _vote(bench, LOWEST)
        bench.tell(ending)
        assert (bench.vote(), bench.clock()) == (0, LOWEST)


@pytest.mark.parametrize("groups", [(), (None,), (1,)])
def test_a_policy_s_vote_ends_with_the_vcpu_s_place(
    bench: Workbench, groups: tuple[int | None, ...]
) -> None:
    bench.simple()
    bench.define_group(1)
    _vote(bench, LOWEST)
    bench.define_domain(groups=groups)
    assert bench.clock() == TURBO
    bench.define_domain()
    assert bench.clock() == TURBO


def test_a_policy_s_vote_ends_with_the_domain(bench: Workbench) -> None:
    bench.simple()
    _vote(bench, LOWEST)
    bench.tell(messages.ForgetDomain(0, ()))
    assert bench.clock() == TURBO


def test_a_policy_s_vote_for_what_is_not_there_is_void(bench: Workbench) -> None:
    bench.simple()
    bench.define_domain(groups=(None,))
    for vcpu, domain in ((0, 0), (1, 0), (0, 7)):
        _vote(bench, LOWEST, vcpu, domain)
    bench.define_domain()
    assert bench.clock() == TURBO


def test_a_policy_s_vote_takes_the_group_and_holds_it(bench: Workbench) -> None:
    bench.define_group()
    bench.hand_over(is_taken=False)
    bench.define_domain()
    _vote(bench, MIDDLE)
    _vote(bench, LOWEST)
    assert bench.reports == [messages.TakeWanted(0)]
    bench.tell(messages.AnswerTake(0, is_taken=True))
    assert bench.clock() == LOWEST
    bench.now_ns += 100 * SECOND_NS
    bench.turn()
    assert bench.grant() == LOWEST
    _vote(bench, 0)
    bench.now_ns += 2 * SECOND_NS
    bench.turn()
    assert bench.reports == [messages.TakeWanted(0), messages.GroupYielded(0)]
    _vote(bench, MIDDLE)
    assert bench.reports[2:] == [messages.TakeWanted(0)]


def test_a_policy_s_vote_takes_no_group_that_is_refused_or_observed(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over(is_taken=False)
    bench.define_domain(is_enforced=False)
    _vote(bench, MIDDLE)
    assert bench.reports == []
    bench.define_domain()
    assert bench.reports == [messages.TakeWanted(0)]
    for khz in (MIDDLE, LOWEST, NOMINAL):
        bench.tell(messages.AnswerTake(0, is_taken=False))
        _vote(bench, khz)
    assert bench.reports == [messages.TakeWanted(0)]
    # Main tries anew by handing over.
    bench.now_ns += 2 * SECOND_NS
    bench.hand_over(is_taken=False)
    assert bench.reports == [messages.TakeWanted(0)] * 2


def test_the_operator_s_clock_stands_above_a_policy(bench: Workbench) -> None:
    bench.simple()
    _vote(bench, LOWEST)
    bench.define_group(override_khz=NOMINAL)
    assert bench.clock() == NOMINAL
    bench.define_group()
    assert bench.clock() == LOWEST


# Guests' policies


def test_a_policy_is_passed_to_main_and_answered_by_its_word(bench: Workbench) -> None:
    guest = bench.simple()
    for is_accepted, answer in ((True, ACK), (False, NACK)):
        bench.reports.clear()
        assert bench.ask(guest, POLICY) == b""
        (sent,) = bench.policies()
        assert (sent.domain, sent.number, sent.adoption) == (0, 0, 1)
        assert (sent.generation, sent.packet) == (464, POLICY.decode("latin-1"))
        bench.answer_policy(sent, is_accepted=is_accepted)
        assert receive(guest) == answer
    assert bench.counts() == {"acks": 1, "nacks": 1}


def test_a_policy_that_cannot_be_installed_is_refused_at_once(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    physical = encode_policy(PolicyPacket(core_type=1))
    refusal = encode_answer(physical, Answer.NACK)
    assert bench.ask(guest, physical) == refusal
    bench.define_domain(may_send_policies=False)
    assert bench.ask(guest, POLICY) == NACK
    bench.define_domain(is_enforced=False)
    assert bench.ask(guest, POLICY) == NACK
    bench.define_domain()
    bench.tell(messages.SwitchChannel(0, 0, is_enabled=False))
    assert bench.ask(guest, POLICY) == NACK
    assert bench.policies() == []
    assert bench.counts() == {"nacks": 4}


def test_answers_stay_in_order_behind_a_policy(bench: Workbench) -> None:
    guest = bench.simple()
    low = encode(Request(0, MIN))
    bad = encode(Request(0, 99))
    assert bench.ask(guest, POLICY + low + bad) == b""
    assert bench.counts() == {"waiting": 3}
    assert bench.clock() == LOWEST
    bench.answer_policy(bench.policies()[0])
    assert receive(guest) == ACK + low + encode_answer(bad, Answer.NACK)
    assert bench.ask(guest, low) == low


def test_main_s_words_may_come_in_any_order(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, POLICY * 2)
    first, second = bench.policies()
    bench.answer_policy(second, is_accepted=False)
    assert receive(guest) == b""
    bench.answer_policy(first)
    assert receive(guest) == ACK + NACK


def test_main_s_word_may_come_too_late(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, POLICY)
    bench.now_ns += LATE_NS
    bench.answer_policy(bench.policies()[0])
    assert receive(guest) == b""
    assert bench.counts() == {"late": 1}


def test_a_main_that_says_nothing_holds_up_no_other_answers(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, POLICY)
    bench.now_ns += LATE_NS
    low = encode(Request(0, MIN))
    assert bench.ask(guest, low) == low
    assert bench.counts() == {"late": 1, "acks": 1}
    bench.answer_policy(bench.policies()[0])
    assert receive(guest) == b""
    assert bench.ask(guest, low) == low


def test_an_answer_for_nobody_is_no_error(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, POLICY)
    (sent,) = bench.policies()
    bench.answer_policy(sent._replace(ticket=sent.ticket + 1))
    bench.answer_policy(sent._replace(number=5))
    bench.answer_policy(sent._replace(domain=5))
    assert receive(guest) == b""


def test_an_answer_that_meets_a_broken_socket_ends_the_channel(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, POLICY)
    (sent,) = bench.policies()
    guest.close()
    bench.answer_policy(sent)
    assert messages.EndpointClosed(0, 0, 1, "EPIPE") in bench.reports


def test_a_removal_is_passed_on_and_not_answered(bench: Workbench) -> None:
    guest = bench.simple()
    low = encode(Request(0, MIN))
    assert bench.ask(guest, REMOVAL + low) == low
    assert bench.reports == [messages.PolicyRemoved(0, 0, 1)]
    assert bench.counts() == {"acks": 1}


def test_a_flood_of_policies_is_kept_from_main(bench: Workbench) -> None:
    guest = bench.simple()
    sent = MOST_AT_ONCE - 1
    bench.ask(guest, POLICY * (sent + 5))
    assert len(bench.policies()) == sent
    for ticket in bench.policies():
        bench.answer_policy(ticket)
    assert receive(guest) == ACK * sent + NACK * 5
    bench.ask(guest, REMOVAL * 101)
    assert bench.counts() == {"acks": sent, "nacks": 5, "errors": 100}
    bench.now_ns += REFILL_NS
    bench.ask(guest, REMOVAL)
    assert bench.reports[-1] == messages.PolicyRemoved(0, 0, 1)


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


def test_connect_and_policies_share_a_burst(bench: Workbench) -> None:
    guest = bench.simple()
    assert bench.ask(guest, encode_connect() + POLICY) == b""
    bench.answer_policy(bench.policies()[0])
    assert receive(guest) == ACK


# Domains that are only observed


def test_a_domain_that_is_only_observed_holds_no_group(bench: Workbench) -> None:
    guest = bench.simple()
    low = encode(Request(0, MIN))
    bench.ask(guest, low)
    _vote(bench, MIDDLE)
    bench.define_domain(is_enforced=False)
    assert bench.clock() == TURBO
    bench.now_ns += 2 * SECOND_NS
    bench.turn()
    assert bench.reports == [messages.GroupYielded(0)]
    # The guest must ask again; the policy's vote stands.
    bench.define_domain()
    assert bench.reports[1:] == [messages.TakeWanted(0)]
