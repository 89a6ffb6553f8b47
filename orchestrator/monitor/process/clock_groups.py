"""From a vote to a written clock, and the life of clock groups in between.

Theory of operation: a group's first vote makes it WANTED and asks main to switch its
governor, which takes up to some 25 ms; votes fold meanwhile, answers wait. When it is
TAKEN each change of its target is written at once, if it is a change. When its last
vote has ended it stays at its highest permitted step for a while, then it is YIELDED.

Every change but the commonest goes through `review`, which makes everything that is
derived of a group true again: its clock, its plans (see `endpoint.Plan`), its deadline.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Command, Unit
from orchestrator.monitor.arbiter import Domain, Group, VCpu
from orchestrator.monitor.link.reports import GroupYielded, TakeWanted, WriteRefused
from orchestrator.monitor.link.table import (
    GRANT,
    REFUSALS,
    VOTE,
    VOTER,
    Voter,
    group_at,
    pack_voter,
)
from orchestrator.monitor.process.clock import NOT_GRANTED, Clock, Stage
from orchestrator.monitor.process.endpoint import Endpoint, Plan
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.link.reports import Report
    from orchestrator.monitor.process.endpoint import PlanKey
    from orchestrator.values.frequencies import FrequencyTable

RETRY_NS = 1_000_000_000
"""How long a group that could not be taken is refused without asking main again: a
guest asks up to 100 000 times a second, and the kernel has just said no."""

_PLANNED_UNITS = (int(Unit.SCALE_MAX), int(Unit.SCALE_MIN))
_SWITCHES = (int(Unit.ENABLE_TURBO), int(Unit.DISABLE_TURBO))


class ClockGroups:
    """The clock groups, and everything that changes a vote or a clock.

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
        self.speakers: dict[Domain, dict[int, Endpoint]] = {}
        """The open endpoints of each domain, by number of the channel."""
        self._words = words
        self._release_after_ns = release_after_ns
        self._report = report
        self._now_ns = now_ns
        self._planners: dict[Clock, tuple[Endpoint, tuple[PlanKey, ...]]] = {}
        """The endpoint that has plans for a clock group, and their keys."""
        self.deadlines: dict[Clock, int] = {}
        """When (monotonic) a group without votes is to be yielded; see `expire`."""

    def clock(self, number: int, steps: FrequencyTable, row: int) -> Clock:
        """Return a group's clock, which is made if it is new."""
        clock = self.clocks.get(number)
        if clock is None:
            clock = Clock(Group(number, steps), group_at(row))
            self.clocks[number] = clock
        return clock

    # Votes

    def request(self, vcpu: VCpu, unit: int, number: int) -> Clock | Refusal:
        """Let channel `number` move a vCPU's vote.

        Returns:
            The clock whose review decides the answer, or that is still to be taken;
            or why the request is refused.
        """
        return self._request(vcpu, unit, number)

    def on_connect(self, vcpu: VCpu, number: int) -> None:
        """Let a guest that has just opened its port have the highest step."""
        vcpu.has_turbo_right = True  # what another program in it switched off is over
        vcpu.rebound()
        clock = self._request(vcpu, Unit.SCALE_MAX, number, is_connect_vote=True)
        if isinstance(clock, Clock) and clock.stage is Stage.TAKEN:
            self.settle(clock)

    def _request(
        self, vcpu: VCpu, unit: int, number: int, *, is_connect_vote: bool = False
    ) -> Clock | Refusal:
        if vcpu.group is None:
            return Refusal.FLOATING
        clock = self.clocks[vcpu.group.number]
        vote_khz = vcpu.apply_request(unit)
        if vote_khz is None:
            return Refusal.TURBO if unit in _SWITCHES else Refusal.UNIT
        is_switch = unit in _SWITCHES or is_connect_vote or vcpu.is_connect_vote
        vcpu.is_connect_vote = is_connect_vote
        self._vote(clock, vcpu, vote_khz, number, is_switch=is_switch)
        if vcpu.group.override_khz is not None:
            return Refusal.OVERRIDDEN
        is_ours = clock.stage is Stage.TAKEN or self._want(clock)
        return clock if is_ours else Refusal.CLAIM

    def _vote(
        self, clock: Clock, vcpu: VCpu, khz: int, number: int, *, is_switch: bool
    ) -> None:
        # A plan holds what a request means to this voter with its present turbo right.
        is_new = not vcpu.vote_khz or vcpu.voter != number
        vcpu.vote_khz = khz
        self._words[vcpu.index + VOTE] = khz
        if is_new or is_switch:
            vcpu.voter = number
            self._words[vcpu.index + VOTER] = pack_voter(_voter_of(vcpu))
            self.deadlines.pop(clock, None)
            self._replan(clock)

    def withdraw(self, vcpu: VCpu) -> None:
        """End the vote of a vCPU's guest."""
        vcpu.withdraw()
        self.store(vcpu)
        if vcpu.group is not None:
            self.review(self.clocks[vcpu.group.number])

    def withdraw_all(self, domain: Domain, number: int | None) -> None:
        """End the guest's votes that one channel made; None: that all made."""
        for vcpu in domain.vcpus.values():
            if vcpu.voter is not None and number in (None, vcpu.voter):
                self.withdraw(vcpu)

    def vote_by_policy(self, vcpu: VCpu, khz: int) -> None:
        """Let a policy vote for a vCPU; NO_VOTE ends its vote."""
        before_khz = vcpu.policy_khz
        vcpu.vote_by_policy(khz)
        if vcpu.group is not None and vcpu.policy_khz != before_khz:
            self.review(self.clocks[vcpu.group.number])

    def store(self, vcpu: VCpu) -> None:
        """Write the vote of a vCPU's guest into the shared table."""
        word = pack_voter(_voter_of(vcpu))
        self._words[vcpu.index + VOTE] = vcpu.vote_khz
        self._words[vcpu.index + VOTER] = word

    # The life of a group

    def _want(self, clock: Clock) -> bool:
        if clock.stage is Stage.WANTED:
            return True
        if self._now_ns() < clock.retry_at_ns:
            return False
        clock.stage = Stage.WANTED
        clock.is_changed = True
        self._report(TakeWanted(clock.group.number))
        return True

    def take(self, clock: Clock) -> None:
        """Main has switched the group's governor: its clock is ours to write."""
        clock.stage = Stage.TAKEN
        clock.is_changed = True
        clock.khz = NOT_GRANTED  # whatever the governor left behind
        clock.retry_at_ns = 0
        self.review(clock)

    def reapply(self, clock: Clock) -> None:
        """The kernel may have lost a taken group's frequency: write it again."""
        if clock.stage is Stage.TAKEN:
            clock.khz = NOT_GRANTED
            self.review(clock)

    def fail(self, clock: Clock) -> None:
        """Main could not switch the group's governor, and changed nothing."""
        clock.retry_at_ns = self._now_ns() + RETRY_NS
        self.rest(clock)

    def rest(self, clock: Clock) -> None:
        """Its governor is the host's, by main's word; a vote will want it anew."""
        clock.is_changed = False
        clock.refused_errno = 0
        self._drop(clock, Stage.UNTAKEN)

    def expire(self) -> None:
        """Yield the groups that have had no vote for long enough."""
        now_ns = self._now_ns()
        due = [clock for clock, at_ns in self.deadlines.items() if at_ns <= now_ns]
        for clock in due:
            self._drop(clock, Stage.YIELDED)
            self._report(GroupYielded(clock.group.number))

    def _drop(self, clock: Clock, stage: Stage) -> None:
        clock.stage = stage
        clock.khz = NOT_GRANTED
        self._words[clock.index + GRANT] = NOT_GRANTED
        self.review(clock)

    # The clock

    def review(self, clock: Clock) -> None:
        """Make true again what depends on the group's votes, bounds and stage."""
        group = clock.group
        if clock.stage is Stage.TAKEN:
            self.settle(clock)
        elif group.override_khz is not None:
            clock.is_changed = True  # main takes such a group without being asked
        elif group.has_policy_votes():
            # Unlike a guest, a policy does not ask again: its vote stands.
            self._want(clock)
        is_idle = group.override_khz is None and not group.has_votes()
        if clock.stage is Stage.TAKEN and is_idle:
            at_ns = self._now_ns() + self._release_after_ns
            self.deadlines.setdefault(clock, at_ns)
        else:
            self.deadlines.pop(clock, None)
        self._replan(clock)

    def settle(self, clock: Clock) -> bool:
        """Write a taken group's target if it is not what was written last.

        Returns:
            Whether the target is in force.
        """
        target_khz = clock.group.target_khz()
        if target_khz == clock.khz:
            return True
        errno = clock.write(target_khz)
        if errno:
            self.refuse(clock, errno)
            return False
        self._words[clock.index + GRANT] = target_khz
        if clock.refused_errno:
            clock.refused_errno = 0
            self._replan(clock)
        return True

    def refuse(self, clock: Clock, errno: int) -> None:
        """Count a write that the kernel refused; main hears of the first of a kind."""
        self._words[clock.index + REFUSALS] += 1
        # What is in force now is not known: the next request writes, whatever it wants.
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
        # What has only greeted is no voter yet: its first request says otherwise.
        if vcpu is None or vcpu.voter is None or vcpu.is_connect_vote:
            return
        endpoint = self.speakers.get(vcpu.domain, {}).get(vcpu.voter)
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
        grant_khz = clock.group.window.fit(vcpu.clamp(max(vote_khz, vcpu.policy_khz)))
        key = (vcpu.number, unit, int(Command.CPU_POWER), 0)
        plans[key] = Plan(vcpu, vote_khz, clock, grant_khz, b"%d\n" % grant_khz)
    return plans
