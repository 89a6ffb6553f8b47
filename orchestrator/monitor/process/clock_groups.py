# SPDX-License-Identifier: Apache-2.0
"""Votes, frequencies, and the life of clock groups.

Theory of operation: the first vote for a group makes it WANTED and asks main to switch
its governor, which takes up to some 25 ms; meanwhile votes accumulate and answers wait.
Once it is TAKEN, its target is written whenever it changes. After its last vote has
ended, it stays at its highest permitted step for a while, and is then YIELDED.

All changes except the most frequent one go through `review`, which updates everything
that is derived from a group: its frequency, its plans (see `endpoint.Plan`) and its
deadline.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Command, Unit
from orchestrator.monitor.arbiter import NO_VOTE, UNKNOWN_KHZ, Domain, Group, VCpu
from orchestrator.monitor.link.reports import GroupYielded, TakeWanted, WriteRefused
from orchestrator.monitor.link.table import (
    GRANT,
    OBSERVED,
    OBSERVED_P_STATE,
    P_STATE_VOTE,
    P_STATE_VOTER,
    REFUSALS,
    VOTE,
    VOTER,
    WRITES,
    Voter,
    group_at,
    pack_voter,
)
from orchestrator.monitor.process.clock import (
    NOT_GRANTED,
    Clock,
    CoreClocks,
    Stage,
)
from orchestrator.monitor.process.endpoint import Endpoint, Plan
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.link.reports import Report
    from orchestrator.monitor.process.endpoint import PlanKey
    from orchestrator.values.frequencies import FrequencyTable

RETRY_NS = 1_000_000_000
"""How long a group that could not be taken is refused before main is asked again: a
guest can send 100,000 requests per second."""

_PLANNED_UNITS = (int(Unit.SCALE_MAX), int(Unit.SCALE_MIN))
_SWITCHES = (int(Unit.ENABLE_TURBO), int(Unit.DISABLE_TURBO))


class ClockGroups:
    """The clock groups, and everything that changes a vote or a frequency.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        words: memoryview[int],
        release_after_ns: int,
        report: Callable[[Report], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.clocks: dict[int, Clock] = {}
        """By number of the clock group."""
        self.endpoints: dict[Domain, dict[int, Endpoint]] = {}
        """The open endpoints of each domain, by number of the channel."""
        self._words = words
        self._release_after_ns = release_after_ns
        self._report = report
        self._now_ns = now_ns
        self._planners: dict[Clock, tuple[Endpoint, tuple[PlanKey, ...]]] = {}
        """The endpoint that has plans for a clock group, and their keys."""
        self.deadlines: dict[Clock, int] = {}
        """When (monotonic) a group without votes is yielded; see `expire`."""

    def clock(self, number: int, steps: FrequencyTable, row: int) -> Clock:
        """Return a group's clock, creating it if it is new."""
        clock = self.clocks.get(number)
        if clock is None:
            clock = Clock(Group(number, steps), group_at(row))
            clock.writes = self._words[clock.index + WRITES]
            self.clocks[number] = clock
        return clock

    # Votes

    def clocks_of(self, vcpu: VCpu) -> tuple[Clock, ...]:
        """Return the clocks of the groups that a vCPU votes in."""
        return tuple(self.clocks[group.number] for group in vcpu.groups)

    def review_following(self, domain: Domain) -> None:
        """Review the groups that follow a domain's vCPUs."""
        for group in domain.followed_by:
            self.review(self.clocks[group.number])

    def _review_all(self, vcpu: VCpu) -> None:
        """Review all groups that depend on the votes of a vCPU."""
        for clock in self.clocks_of(vcpu):
            self.review(clock)
        self.review_following(vcpu.domain)

    def request(
        self, vcpu: VCpu, unit: int, number: int
    ) -> Clock | CoreClocks | Refusal:
        """Apply a request from channel `number` to a vCPU's vote.

        Returns:
            The clock whose review decides the answer, or that has yet to be taken; or
            why the request is refused.
        """
        outcome = self._request(vcpu, unit, number)
        # Afterwards: no answer waits for these.
        self.review_following(vcpu.domain)
        return outcome

    def observe(self, vcpu: VCpu, unit: int) -> None:
        """Note what a request would vote for that is refused in mode `observe`."""
        at = vcpu.index + OBSERVED
        self._words[at] = vcpu.would_vote(unit, self._words[at]) or self._words[at]

    def observe_p_state(self, vcpu: VCpu, khz: int) -> None:
        """Do the same for a request of a P-state channel."""
        self._words[vcpu.index + OBSERVED_P_STATE] = vcpu.would_vote_p_state(khz)

    def forget_observed(self, vcpu: VCpu) -> None:
        """Forget what a vCPU's guest would vote for."""
        self._words[vcpu.index + OBSERVED] = NO_VOTE
        self._words[vcpu.index + OBSERVED_P_STATE] = NO_VOTE

    def on_connect(self, vcpu: VCpu, number: int) -> None:
        """Give a guest that has just opened its port the highest step."""
        vcpu.has_turbo_right = True  # may have been switched off by an earlier program
        vcpu.update_window()
        outcome = self._request(vcpu, Unit.SCALE_MAX, number, is_connect_vote=True)
        self.review_following(vcpu.domain)
        if isinstance(outcome, Refusal):
            return
        for clock in self.clocks_of(vcpu):
            if clock.stage is Stage.TAKEN:
                self.write_target(clock)

    def _request(
        self, vcpu: VCpu, unit: int, number: int, *, is_connect_vote: bool = False
    ) -> Clock | CoreClocks | Refusal:
        if vcpu.group is None:
            return vcpu.refusal
        clock = self.clocks[vcpu.group.number]
        vote_khz = vcpu.apply_request(unit)
        if vote_khz is None:
            return Refusal.TURBO if unit in _SWITCHES else Refusal.UNIT
        is_switch = unit in _SWITCHES or is_connect_vote or vcpu.is_connect_vote
        vcpu.is_connect_vote = is_connect_vote
        self._vote(vcpu, vote_khz, number, is_switch=is_switch)
        if vcpu.siblings:
            return self._request_core(self.clocks_of(vcpu))
        if vcpu.group.override_khz is not None:
            return Refusal.OVERRIDDEN
        is_ours = clock.stage is Stage.TAKEN or self._request_take(clock)
        return clock if is_ours else Refusal.CLAIM

    def _request_core(self, clocks: tuple[Clock, ...]) -> CoreClocks | Refusal:
        """Find out what the answer depends on; the vote is made in any case."""
        are_overridden = any(c.group.override_khz is not None for c in clocks)
        are_ours = [c.stage is Stage.TAKEN or self._request_take(c) for c in clocks]
        if all(are_ours) and not are_overridden:
            return CoreClocks(clocks)
        for clock in clocks:  # what is refused is not written later
            if clock.stage is Stage.TAKEN:
                self.write_target(clock)
        return Refusal.OVERRIDDEN if are_overridden else Refusal.CLAIM

    def _vote(self, vcpu: VCpu, khz: int, number: int, *, is_switch: bool) -> None:
        # A plan is made for this voter and its current turbo right.
        is_new = not vcpu.vote_khz or vcpu.voter != number
        vcpu.vote_khz = khz
        self._words[vcpu.index + VOTE] = khz
        if is_new or is_switch:
            vcpu.voter = number
            self._words[vcpu.index + VOTER] = pack_voter(_voter_of(vcpu))
            for clock in self.clocks_of(vcpu):
                self.deadlines.pop(clock, None)
                self._replan(clock)

    def withdraw(self, vcpu: VCpu) -> None:
        """End the vote of a vCPU's guest."""
        vcpu.withdraw()
        self.store_vote(vcpu)
        self._review_all(vcpu)

    def withdraw_all(self, domain: Domain, number: int | None) -> None:
        """End the guest's votes from one channel; None: from all channels."""
        for vcpu in domain.vcpus.values():
            self.forget_observed(vcpu)
            if vcpu.voter is not None and number in (None, vcpu.voter):
                self.withdraw(vcpu)
            if vcpu.p_state_voter is not None and number in (None, vcpu.p_state_voter):
                vcpu.withdraw_p_state()
                self.store_vote(vcpu)
                self._review_all(vcpu)

    # Votes of P-state channels

    def request_p_state(
        self, vcpu: VCpu, khz: int, number: int
    ) -> Clock | CoreClocks | Refusal:
        """Apply a request from P-state channel `number` to a vCPU's vote.

        Args:
            vcpu: the vCPU.
            khz: the frequency in the guest's table; UNKNOWN_KHZ: a request may be lost.
            number: of the channel.

        Returns:
            The clock that is to be written, or has yet to be taken; or why the request
            is refused.
        """
        if vcpu.group is None:
            return vcpu.refusal
        self._vote_p_state(vcpu, khz, number)
        if vcpu.domain.followed_by:
            self.review_following(vcpu.domain)
        if vcpu.siblings:
            return self._request_core(self.clocks_of(vcpu))
        if vcpu.group.override_khz is not None:
            return Refusal.OVERRIDDEN
        clock = self.clocks[vcpu.group.number]
        is_ours = clock.stage is Stage.TAKEN or self._request_take(clock)
        return clock if is_ours else Refusal.CLAIM

    def _vote_p_state(self, vcpu: VCpu, khz: int, number: int) -> None:
        is_new = vcpu.p_state_voter != number
        vcpu.set_p_state_vote(khz, number)
        self._words[vcpu.index + P_STATE_VOTE] = khz
        if is_new:
            self._words[vcpu.index + P_STATE_VOTER] = pack_voter(Voter(number))
            for clock in self.clocks_of(vcpu):
                self.deadlines.pop(clock, None)
        if vcpu.vote_khz:  # a plan includes the other votes of its vCPU
            for clock in self.clocks_of(vcpu):
                self._replan(clock)

    def doubt_p_states(self, domain: Domain, number: int | None) -> None:
        """Let vCPUs with a vote from a P-state channel have the highest step.

        Until their next request, because one may be lost.

        Args:
            domain: whose vCPUs.
            number: of the channel; None: all channels.
        """
        for vcpu in domain.vcpus.values():
            voter = vcpu.p_state_voter
            if voter is not None and number in (None, voter):
                self._vote_p_state(vcpu, UNKNOWN_KHZ, voter)
                self._review_all(vcpu)

    def set_policy_vote(self, vcpu: VCpu, khz: int) -> None:
        """Set a policy's vote for a vCPU; NO_VOTE ends it."""
        before_khz = vcpu.policy_khz
        vcpu.set_policy_vote(khz)
        if vcpu.policy_khz != before_khz:
            self._review_all(vcpu)

    def store_vote(self, vcpu: VCpu) -> None:
        """Write the votes of a vCPU's guest into the shared table."""
        words, at = self._words, vcpu.index
        words[at + VOTE] = vcpu.vote_khz
        words[at + VOTER] = pack_voter(_voter_of(vcpu))
        words[at + P_STATE_VOTE] = vcpu.p_state_request_khz
        words[at + P_STATE_VOTER] = pack_voter(Voter(vcpu.p_state_voter))

    # The life of a group

    def _request_take(self, clock: Clock) -> bool:
        if clock.stage is Stage.WANTED:
            return True
        if self._now_ns() < clock.retry_at_ns:
            return False
        clock.stage = Stage.WANTED
        clock.is_changed = True
        self._report(TakeWanted(clock.group.number))
        return True

    def take(self, clock: Clock) -> None:
        """Start to set the frequency of a group whose governor main has switched."""
        clock.stage = Stage.TAKEN
        clock.is_changed = True
        clock.khz = NOT_GRANTED  # the governor may have set any frequency
        clock.retry_at_ns = 0
        self.review(clock)

    def reapply(self, clock: Clock) -> None:
        """Write a taken group's frequency again: the kernel may have lost it."""
        if clock.stage is Stage.TAKEN:
            clock.khz = NOT_GRANTED
            self.review(clock)

    def fail(self, clock: Clock) -> None:
        """Refuse a group for a while: main could not switch its governor."""
        clock.retry_at_ns = self._now_ns() + RETRY_NS
        self.reset(clock)

    def reset(self, clock: Clock) -> None:
        """Forget that a group was taken: it has the host's governor again."""
        clock.is_changed = False
        clock.refused_errno = 0
        self._stop_writing(clock, Stage.UNTAKEN)

    def expire(self) -> None:
        """Yield the groups that have been without votes for long enough."""
        now_ns = self._now_ns()
        due = [clock for clock, at_ns in self.deadlines.items() if at_ns <= now_ns]
        for clock in due:
            self._stop_writing(clock, Stage.YIELDED)
            self._report(GroupYielded(clock.group.number))

    def _stop_writing(self, clock: Clock, stage: Stage) -> None:
        clock.stage = stage
        clock.khz = NOT_GRANTED
        self._words[clock.index + GRANT] = NOT_GRANTED
        self.review(clock)

    # The frequency

    def review(self, clock: Clock) -> None:
        """Update everything that depends on the group's votes, limits and stage."""
        group = clock.group
        if clock.stage is Stage.TAKEN:
            self.write_target(clock)
        elif group.has_unrepeated_votes() and group.override_khz is None:
            self._request_take(clock)
        elif group.override_khz is not None or group.has_votes():
            # Main takes such a group without being asked: the override, or votes of an
            # earlier run of the daemon.
            clock.is_changed = True
        is_idle = group.override_khz is None and not group.has_votes()
        if clock.stage is Stage.TAKEN and is_idle:
            at_ns = self._now_ns() + self._release_after_ns
            self.deadlines.setdefault(clock, at_ns)
        else:
            self.deadlines.pop(clock, None)
        self._replan(clock)

    def write_target(self, clock: Clock) -> bool:
        """Write a taken group's target if it has changed.

        Returns:
            Whether the target is in effect.
        """
        target_khz = clock.group.target_khz()
        if target_khz == clock.khz:
            return True
        errno = clock.write(target_khz)
        if errno:
            self.on_write_refused(clock, errno)
            return False
        clock.writes += 1
        self._words[clock.index + GRANT] = target_khz
        self._words[clock.index + WRITES] = clock.writes
        if clock.refused_errno:
            clock.refused_errno = 0
            self._replan(clock)
        return True

    def on_write_refused(self, clock: Clock, errno: int) -> None:
        """Count a write that the kernel refused; report the first with each errno."""
        self._words[clock.index + REFUSALS] += 1
        # The frequency is unknown now: the next request writes in any case.
        clock.khz = NOT_GRANTED
        self._words[clock.index + GRANT] = NOT_GRANTED
        if errno != clock.refused_errno:
            clock.refused_errno = errno
            self._report(WriteRefused(clock.group.number, errno))
            self._replan(clock)

    # Plans

    def _replan(self, clock: Clock) -> None:
        planner, keys = self._planners.pop(clock, (None, ()))
        if planner is not None:
            for key in keys:
                planner.plans.pop(key, None)
        if clock.stage is not Stage.TAKEN or clock.refused_errno:
            return
        vcpu = clock.group.sole_voter()
        # A CONNECT vote has no plan: the first request turns it into an ordinary vote.
        if vcpu is None or vcpu.voter is None or vcpu.is_connect_vote:
            return
        endpoint = self.endpoints.get(vcpu.domain, {}).get(vcpu.voter)
        if endpoint is None or not endpoint.is_enabled:
            return
        plans = _make_plans(clock, vcpu)
        endpoint.plans.update(plans)
        self._planners[clock] = (endpoint, tuple(plans))


def _voter_of(vcpu: VCpu) -> Voter:
    return Voter(vcpu.voter, vcpu.has_turbo_right, vcpu.is_connect_vote)


def _make_plans(clock: Clock, vcpu: VCpu) -> dict[PlanKey, Plan]:
    plans: dict[PlanKey, Plan] = {}
    for unit in _PLANNED_UNITS:
        vote_khz = vcpu.apply_request(unit)
        if vote_khz is None:
            continue
        votes_khz = vote_khz, vcpu.policy_khz, vcpu.p_state_khz
        grant_khz = clock.group.window.fit(vcpu.clamp(max(votes_khz)))
        key = (vcpu.number, unit, int(Command.CPU_POWER), 0)
        plans[key] = Plan(vcpu, vote_khz, clock, grant_khz, b"%d\n" % grant_khz)
    return plans
