"""Votes to grants: what clock a group of CPUs gets, from what its vCPUs want.

Theory of operation: a guest's request becomes a *vote* of a vCPU: always a step of
its clock group, and as high as the guest meant it. A second vote of the same vCPU may
come from a policy; the two never change each other, and the higher one counts. What the
operator allows is not folded into a vote but applied when both are read as a *wish*, so
that bounds can change under a vote. The *grant* of a group is the highest wish in it.
Every doubt resolves upwards: a vCPU that runs without a vote wishes the highest step,
and a group in which nobody wishes anything gets it too.

Pure: no descriptor, no clock, no table. The shortcut for the commonest case stands in
`exchange`, and is made of answers that were computed here.

Synchronization: one thread, the monitor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Unit
from orchestrator.limits import NO_LIMITS, turbo_limit, window_of

if TYPE_CHECKING:
    from orchestrator.channel.protocol import Generation
    from orchestrator.limits import Limits, Window
    from orchestrator.values.frequencies import FrequencyTable

NO_VOTE = 0
"""In place of kHz; no hardware offers a clock of zero."""

UP, DOWN, MAX, MIN, ENABLE_TURBO, DISABLE_TURBO = map(int, Unit)
"""Plain numbers: comparing with an IntEnum's member costs three times as much."""


class Domain:
    """A domain: what its vCPUs' wishes depend on, and what it may ask."""

    __slots__ = (
        "generation",
        "is_enforced",
        "is_executing",
        "permissions",
        "vcpus",
    )

    def __init__(self) -> None:
        self.is_executing = False
        """Whether its vCPUs run, so that their votes count."""
        self.is_enforced = False
        """False: observed only; its vCPUs count as if they had no vote or bounds."""
        self.generation: Generation | None = None
        """What its guest speaks by the operator's word; None: it is found out."""
        self.permissions: frozenset[str] = frozenset()
        """What its guest may do; see `values.refusal.Permission`."""
        self.vcpus: dict[int, VCpu] = {}
        """By number; hot-plugging can leave gaps."""


class VCpu:
    """A vCPU and its votes: the guest's and a policy's."""

    __slots__ = (
        "domain",
        "group",
        "has_turbo_right",
        "index",
        "is_connect_vote",
        "is_turbo_allowed",
        "limits",
        "number",
        "policy_khz",
        "vote_khz",
        "voter",
        "window",
    )

    def __init__(self, domain: Domain, number: int, index: int = 0) -> None:
        self.domain = domain
        self.number = number
        self.index = index
        """Where its row begins in the shared table; the arbiter does not care."""
        self.group: Group | None = None
        """None: it floats."""
        self.limits: Limits = NO_LIMITS
        """Of its domain."""
        self.is_turbo_allowed = False
        """The operator's word."""
        self.has_turbo_right = True
        """The guest's own switch: on until it sends DISABLE_TURBO."""
        self.vote_khz = NO_VOTE
        """The guest's."""
        self.is_connect_vote = False
        """Whether that is only CONNECT's: nobody has asked for a clock yet. Beside a
        policy it does not count, or no policy could slow a guest of DPDK's."""
        self.voter: int | None = None
        """Number of the channel that voted last; the vote ends with it."""
        self.policy_khz = NO_VOTE
        """A policy's; it ends by main's word, or with its place in the group."""
        self.window: Window | None = None
        """The steps among which its wish lies, kept by `rebound`; None: it floats."""

    def place(self, group: Group | None) -> None:
        """Move it into a group, or out of all; votes for other steps are void."""
        if self.group is group:
            return
        if self.group is not None:
            self.group.members.remove(self)
        self.group = group
        if group is not None:
            group.members.append(self)
        self.policy_khz = NO_VOTE
        self.withdraw()

    def rebound(self) -> None:
        """Compute its bounds anew, after anything that they depend on has changed."""
        if self.group is None:
            self.window = None
            return
        steps = self.group.steps
        turbo = turbo_limit(steps, is_allowed=self._may_turbo())
        self.window = window_of(steps, self.limits, turbo)

    def _may_turbo(self) -> bool:
        return self.has_turbo_right and self.is_turbo_allowed

    def _turbo_ceiling(self, steps: FrequencyTable) -> int:
        return steps.highest_khz if self._may_turbo() else steps.nominal_khz

    def wish_khz(self) -> int:
        """Return what it wishes of its group; it must be in one."""
        if self.group is None:
            raise ValueError("a floating vCPU has no wish")
        if not self.domain.is_enforced:
            return self.group.steps.highest_khz
        return self.clamp(self.highest_vote_khz() or self.group.steps.highest_khz)

    def highest_vote_khz(self) -> int:
        """Return the higher of its votes that count; NO_VOTE if it has none."""
        if self.is_connect_vote and self.policy_khz:
            return self.policy_khz
        return max(self.vote_khz, self.policy_khz)

    def vote_by_policy(self, khz: int) -> None:
        """Set or end (NO_VOTE) a policy's vote; a floating vCPU can have none."""
        if self.group is not None:
            self.policy_khz = self.group.steps.round_up(khz) if khz else NO_VOTE

    def clamp(self, khz: int) -> int:
        """Return the nearest step that its bounds and its turbo right allow."""
        if self.window is None:
            raise ValueError("a floating vCPU has no steps")
        return self.window.clamp(khz)

    def apply_request(self, unit: int) -> int | None:
        """Return the vote that a request makes of the present one.

        ENABLE_TURBO and DISABLE_TURBO set the vCPU's turbo right as well.

        Returns:
            None: the request is refused: an unknown unit, or turbo that is not there.
        """
        if self.group is None or self.window is None:
            return None
        steps = self.group.steps
        if unit == MAX:
            return self._turbo_ceiling(steps)
        if unit == MIN:
            return steps.lowest_khz
        if unit in (UP, DOWN):
            start_khz = self.vote_khz or steps.highest_khz
            step = self.window.step_up if unit == UP else self.window.step_down
            return step(start_khz)
        return self._switch_turbo(unit, steps)

    def _switch_turbo(self, unit: int, steps: FrequencyTable) -> int | None:
        if unit == ENABLE_TURBO and steps.has_turbo and self.is_turbo_allowed:
            self.has_turbo_right = True
        elif unit == DISABLE_TURBO:
            self.has_turbo_right = False
        else:
            return None
        self.rebound()
        return self._turbo_ceiling(steps)

    def withdraw(self) -> None:
        """End the guest's vote, and give back the turbo right that went with it."""
        self.vote_khz = NO_VOTE
        self.is_connect_vote = False
        self.voter = None
        self.has_turbo_right = True
        self.rebound()


class Group:
    """A clock group and the vCPUs that are pinned into it."""

    __slots__ = (
        "has_host_cpus",
        "limits",
        "members",
        "number",
        "override_khz",
        "steps",
        "window",
    )

    def __init__(self, number: int, steps: FrequencyTable) -> None:
        self.number = number
        self.steps = steps
        self.limits: Limits = NO_LIMITS
        """The host's and the kernel's, which nothing passes."""
        self.window = window_of(steps)
        """The steps that they leave; kept by `rebound`."""
        self.has_host_cpus = False
        """Whether the host's own work runs in it, which is not to be slowed."""
        self.override_khz: int | None = None
        """The operator's clock, in place of all wishes."""
        self.members: list[VCpu] = []

    def rebound(self) -> None:
        """Compute windows and votes again after steps or limits have changed."""
        self.window = window_of(self.steps, self.limits)
        for vcpu in self.members:
            vcpu.rebound()
            if vcpu.vote_khz:
                vcpu.vote_khz = self.steps.round_up(vcpu.vote_khz)
            vcpu.vote_by_policy(vcpu.policy_khz)

    def has_votes(self) -> bool:
        """Tell whether anybody in it has voted who may, even a vCPU that is paused."""
        return any(v.highest_vote_khz() and v.domain.is_enforced for v in self.members)

    def has_policy_votes(self) -> bool:
        """Tell whether a policy votes in it whose domain may change clocks."""
        return any(v.policy_khz and v.domain.is_enforced for v in self.members)

    def target_khz(self) -> int:
        """Return the frequency that the group should have: a step in its window."""
        return self.window.fit(self._wanted_khz())

    def _wanted_khz(self) -> int:
        if self.override_khz is not None:
            return self.override_khz
        highest_khz = self.steps.highest_khz
        if self.has_host_cpus:
            return highest_khz
        wishes = [v.wish_khz() for v in self.members if v.domain.is_executing]
        return max(wishes, default=highest_khz)

    def sole_voter(self) -> VCpu | None:
        """Return the vCPU whose votes alone decide the clock, if its guest voted."""
        if self.override_khz is not None or self.has_host_cpus:
            return None
        if len(self.members) != 1:
            return None
        vcpu = self.members[0]
        is_free = vcpu.domain.is_executing and vcpu.domain.is_enforced
        return vcpu if is_free and vcpu.vote_khz else None
