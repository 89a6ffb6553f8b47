# SPDX-License-Identifier: Apache-2.0
"""Votes of policies, and how guests' policies reach main and are answered."""

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
from orchestrator.monitor.process.allowance import MAX_BURST, REFILL_NS, Allowance
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
    monitor.apply(commands.SetPolicyVote(str(domain), vcpu, khz))


# Votes of policies


def test_a_policy_s_vote_sets_the_frequency_without_a_request(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    _vote(monitor, MIDDLE)
    assert monitor.frequency() == MIDDLE
    _vote(monitor, MIDDLE + 1)
    assert monitor.frequency() == NOMINAL


@pytest.mark.parametrize("guest_first", [True, False])
def test_the_higher_of_two_votes_counts(
    monitor: InProcessMonitor, *, guest_first: bool
) -> None:
    guest = monitor.simple()
    if guest_first:
        monitor.request(guest, encode(Request(0, MIN)))
    _vote(monitor, MIDDLE)
    if not guest_first:
        monitor.request(guest, encode(Request(0, MIN)))
    assert (monitor.frequency(), monitor.vote()) == (MIDDLE, LOWEST)
    # The second time there is a plan.
    for unit, clock in ((MAX, TURBO), (MIN, MIDDLE), (MAX, TURBO), (MIN, MIDDLE)):
        assert monitor.request(guest, encode(Request(0, unit))) == encode(
            Request(0, unit)
        )
        assert (monitor.frequency(), monitor.grant()) == (clock, clock)
    _vote(monitor, 0)
    assert monitor.frequency() == LOWEST


def test_a_guest_that_has_only_connected_does_not_outvote_a_policy(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect())
    assert (monitor.frequency(), monitor.vote()) == (TURBO, TURBO)
    _vote(monitor, LOWEST)
    assert monitor.frequency() == LOWEST
    # Its next request counts beside the policy, even if it is the same.
    for _ in range(2):
        assert monitor.request(guest, encode(Request(0, MAX))) != b""
        assert monitor.frequency() == TURBO
    monitor.request(guest, encode_connect())
    assert monitor.frequency() == LOWEST
    _vote(monitor, 0)
    assert monitor.frequency() == TURBO


def test_a_policy_s_vote_updates_the_plans_of_its_guest(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for policy, clock in ((MIDDLE, MIDDLE), (NOMINAL, NOMINAL), (0, LOWEST)):
        monitor.request(guest, encode(Request(0, MIN)))
        _vote(monitor, policy)
        assert monitor.frequency() == clock
        monitor.request(guest, encode(Request(0, MIN)))
        assert monitor.frequency() == clock


def test_steps_are_counted_from_the_guest_s_own_vote(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN)))
    _vote(monitor, NOMINAL)
    monitor.request(guest, encode(Request(0, UP)))
    assert (monitor.vote(), monitor.frequency()) == (MIDDLE, NOMINAL)


def test_a_policy_s_vote_is_clamped_to_limits_and_turbo_rights(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.define_domain(min_khz=MIDDLE, max_khz=NOMINAL)
    _vote(monitor, LOWEST)
    assert monitor.frequency() == MIDDLE
    _vote(monitor, TURBO)
    assert monitor.frequency() == NOMINAL
    monitor.define_domain(is_turbo_allowed=False)
    assert monitor.frequency() == NOMINAL
    monitor.define_domain()
    assert monitor.frequency() == TURBO


def test_a_policy_s_vote_counts_like_a_guest_s_in_a_shared_group(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(0)
    monitor.define_domain(1)
    _vote(monitor, LOWEST, domain=0)
    assert monitor.frequency() == TURBO
    _vote(monitor, MIDDLE, domain=1)
    assert monitor.frequency() == MIDDLE
    monitor.define_domain(1, is_executing=False)
    assert monitor.frequency() == LOWEST


def test_the_end_of_a_guest_s_vote_leaves_the_policy_s(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for ending in (
        commands.WithdrawVotes("0", None, None),
        commands.SwitchChannel("0", 0, is_enabled=False),
        commands.SwitchChannel("0", 0, is_enabled=True),
        commands.CloseChannel("0", 0),
    ):
        monitor.request(guest, encode(Request(0, MAX)))
        _vote(monitor, LOWEST)
        monitor.apply(ending)
        assert (monitor.vote(), monitor.frequency()) == (0, LOWEST)


@pytest.mark.parametrize("groups", [(), (None,), (1,)])
def test_a_policy_s_vote_ends_when_the_vcpu_leaves_its_group(
    monitor: InProcessMonitor, groups: tuple[int | None, ...]
) -> None:
    monitor.simple()
    monitor.define_group(1)
    _vote(monitor, LOWEST)
    monitor.define_domain(groups=groups)
    assert monitor.frequency() == TURBO
    monitor.define_domain()
    assert monitor.frequency() == TURBO


def test_a_policy_s_vote_ends_with_the_domain(monitor: InProcessMonitor) -> None:
    monitor.simple()
    _vote(monitor, LOWEST)
    monitor.apply(commands.ForgetDomain("0", ()))
    assert monitor.frequency() == TURBO


def test_a_policy_s_vote_for_an_unknown_vcpu_is_ignored(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.define_domain(groups=(None,))
    for vcpu, domain in ((0, 0), (1, 0), (0, 7)):
        _vote(monitor, LOWEST, vcpu, domain)
    monitor.define_domain()
    assert monitor.frequency() == TURBO


def test_a_policy_s_vote_takes_the_group_and_keeps_it(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    monitor.define_domain()
    _vote(monitor, MIDDLE)
    _vote(monitor, LOWEST)
    assert monitor.reports == [reports.TakeWanted(0)]
    monitor.apply(commands.AnswerTake(0, is_taken=True))
    assert monitor.frequency() == LOWEST
    monitor.now_ns += 100 * SECOND_NS
    monitor.run_pass()
    assert monitor.grant() == LOWEST
    _vote(monitor, 0)
    monitor.now_ns += 2 * SECOND_NS
    monitor.run_pass()
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
        monitor.apply(commands.AnswerTake(0, is_taken=False))
        _vote(monitor, khz)
    assert monitor.reports == [reports.TakeWanted(0)]
    # Main tries again by handing over.
    monitor.now_ns += 2 * SECOND_NS
    monitor.hand_over(is_taken=False)
    assert monitor.reports == [reports.TakeWanted(0)] * 2


def test_an_override_takes_precedence_over_a_policy(monitor: InProcessMonitor) -> None:
    monitor.simple()
    _vote(monitor, LOWEST)
    monitor.define_group(override_khz=NOMINAL)
    assert monitor.frequency() == NOMINAL
    monitor.define_group()
    assert monitor.frequency() == LOWEST


# Guests' policies


def test_a_policy_is_forwarded_to_main_and_answered_as_main_decides(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for is_accepted, answer in ((True, ACK), (False, NACK)):
        monitor.reports.clear()
        assert monitor.request(guest, POLICY) == b""
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
    assert monitor.request(guest, physical) == refusal
    monitor.define_domain(may_send_policies=False)
    assert monitor.request(guest, POLICY) == NACK
    monitor.define_domain(is_enforced=False)
    assert monitor.request(guest, POLICY) == NACK
    monitor.define_domain()
    monitor.apply(commands.SwitchChannel("0", 0, is_enabled=False))
    assert monitor.request(guest, POLICY) == NACK
    assert monitor.policies() == []
    assert monitor.counts() == {"nacks": 4}


def test_answers_stay_in_order_behind_a_policy(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    low = encode(Request(0, MIN))
    bad = encode(Request(0, 99))
    assert monitor.request(guest, POLICY + low + bad) == b""
    assert monitor.counts() == {"waiting": 3}
    assert monitor.frequency() == LOWEST
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == ACK + low + encode_answer(bad, Answer.NACK)
    assert monitor.request(guest, low) == low


def test_main_may_answer_policies_in_any_order(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, POLICY * 2)
    first, second = monitor.policies()
    monitor.answer_policy(second, is_accepted=False)
    assert receive(guest) == b""
    monitor.answer_policy(first)
    assert receive(guest) == ACK + NACK


def test_main_may_answer_a_policy_too_late(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, POLICY)
    monitor.now_ns += LATE_NS
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == b""
    assert monitor.counts() == {"late": 1}


def test_other_answers_are_sent_if_main_does_not_answer(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, POLICY)
    monitor.now_ns += LATE_NS
    low = encode(Request(0, MIN))
    assert monitor.request(guest, low) == low
    assert monitor.counts() == {"late": 1, "acks": 1}
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == b""
    assert monitor.request(guest, low) == low


def test_an_answer_for_an_unknown_policy_is_ignored(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, POLICY)
    (sent,) = monitor.policies()
    monitor.answer_policy(sent._replace(ticket=sent.ticket + 1))
    monitor.answer_policy(sent._replace(number=5))
    monitor.answer_policy(sent._replace(uuid="5"))
    assert receive(guest) == b""


def test_an_answer_to_a_broken_socket_ends_the_channel(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, POLICY)
    (sent,) = monitor.policies()
    guest.close()
    monitor.answer_policy(sent)
    assert reports.EndpointClosed("0", 0, 1, "EPIPE") in monitor.reports


def test_a_removal_is_forwarded_and_not_answered(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    low = encode(Request(0, MIN))
    assert monitor.request(guest, REMOVAL + low) == low
    assert monitor.reports == [reports.PolicyRemoved("0", 0, 1)]
    assert monitor.counts() == {"acks": 1}


def test_a_flood_of_policies_does_not_reach_main(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    sent = MAX_BURST - 1
    monitor.request(guest, POLICY * (sent + 5))
    assert len(monitor.policies()) == sent
    for ticket in monitor.policies():
        monitor.answer_policy(ticket)
    assert receive(guest) == ACK * sent + NACK * 5
    monitor.request(guest, REMOVAL * 101)
    assert monitor.counts() == {"acks": sent, "nacks": 5, "errors": 100}
    monitor.now_ns += REFILL_NS
    monitor.request(guest, REMOVAL)
    assert monitor.reports[-1] == reports.PolicyRemoved("0", 0, 1)


def test_a_guest_that_could_send_a_policy_can_remove_it() -> None:
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
    assert monitor.request(guest, encode_connect() + POLICY) == b""
    monitor.answer_policy(monitor.policies()[0])
    assert receive(guest) == ACK


# Domains in observe mode


def test_a_domain_in_observe_mode_keeps_no_group(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    low = encode(Request(0, MIN))
    monitor.request(guest, low)
    _vote(monitor, MIDDLE)
    monitor.define_domain(is_enforced=False)
    assert monitor.frequency() == TURBO
    monitor.now_ns += 2 * SECOND_NS
    monitor.run_pass()
    assert monitor.reports == [reports.GroupYielded(0)]
    # The guest has to repeat its request; the policy's vote is still there.
    monitor.define_domain()
    assert monitor.reports[1:] == [reports.TakeWanted(0)]
