# SPDX-License-Identifier: Apache-2.0
"""Computes the frequency of a clock group from the votes of its vCPUs.

Theory of operation: a guest's request becomes a *vote* of a vCPU, which is always a
step of its clock group, as high as the guest requested. A policy may have another vote
for the same vCPU, and so may the guest's own cpufreq driver, through a P-state channel;
no vote affects another one, and the highest counts. The operator's limits are not
applied to the vote but when it is read as the vCPU's *requested frequency*, so that
they can change while the vote stays. The *grant* of a group is the highest requested
frequency in it. Doubt resolves upwards: a running vCPU without a vote requests the
highest step, and so does a group without running vCPUs. A group of emulator or I/O
threads can *follow* their domain: the highest requested frequency of the domain's vCPUs
then counts in it, too, wherever they are.

Pure: no descriptor, no time, no table. The shortcut for the most frequent case is in
`exchange`, and uses results that were computed here.

Synchronization: one thread, the monitor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Unit
from orchestrator.limits import NO_LIMITS, turbo_limit, window_of
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from orchestrator.channel.protocol import Generation
    from orchestrator.limits import Limits, Window
    from orchestrator.values.frequencies import FrequencyTable

NO_VOTE = 0
"""In place of kHz; no hardware offers a frequency of zero."""

UNKNOWN_KHZ = 2**32 - 1
"""In place of a requested frequency that is not known: a vote for the highest step."""

UP, DOWN, MAX, MIN, ENABLE_TURBO, DISABLE_TURBO = map(int, Unit)
"""Plain numbers: comparing with a member of an IntEnum costs three times as much."""


class Domain:
    """A domain: what the requests of its vCPUs depend on, and its rights."""

    __slots__ = (
        "followed_by",
        "generation",
        "index",
        "is_enforced",
        "is_executing",
        "permissions",
        "vcpus",
    )

    def __init__(self) -> None:
        self.index = 0
        """Where its row begins in the shared table."""
        self.is_executing = False
        """Whether its vCPUs run, so that their votes count."""
        self.is_enforced = False
        """False: observe mode; its vCPUs count as if they had no vote and no limits."""
        self.generation: Generation | None = None
        """The configured generation of its guest; None: it is detected."""
        self.permissions: frozenset[str] = frozenset()
        """What its guest may do; see `values.refusal.Permission`."""
        self.vcpus: dict[int, VCpu] = {}
        """By number; hot-plugging can leave gaps."""
        self.followed_by: tuple[Group, ...] = ()
        """Groups of its emulator and I/O threads, which follow its vCPUs."""

    def let_follow(self, groups: tuple[Group, ...]) -> None:
        """Let groups follow its vCPUs, and no others."""
        for left in self.followed_by:
            left.leaders.remove(self)
        self.followed_by = groups
        for entered in groups:
            entered.leaders.append(self)

    def has_votes(self) -> bool:
        """Return whether one of its vCPUs has a vote that may change a frequency."""
        return self.is_enforced and any(
            vcpu.highest_vote_khz() for vcpu in self.vcpus.values()
        )

    def highest_requested_khz(self) -> int:
        """Return the highest requested frequency; NO_VOTE: all its vCPUs float."""
        placed = (vcpu for vcpu in self.vcpus.values() if vcpu.group is not None)
        return max((vcpu.requested_khz() for vcpu in placed), default=NO_VOTE)


class VCpu:
    """A vCPU and its votes: the guest's, its cpufreq driver's and a policy's."""

    __slots__ = (
        "domain",
        "group",
        "has_turbo_right",
        "index",
        "is_connect_vote",
        "is_turbo_allowed",
        "limits",
        "number",
        "p_state_khz",
        "p_state_request_khz",
        "p_state_voter",
        "policy_khz",
        "refusal",
        "siblings",
        "vote_khz",
        "voter",
        "window",
    )

    def __init__(  # noqa: PLR0915 - one statement for each field
        self, domain: Domain, number: int, index: int = 0
    ) -> None:
        self.domain = domain
        self.number = number
        self.index = index
        """Where its row begins in the shared table; not used here."""
        self.group: Group | None = None
        """None: its requests are refused."""
        self.siblings: tuple[Group, ...] = ()
        """Groups of the other threads of its core, which it votes in, too; they have
        the same steps."""
        self.refusal = Refusal.FLOATING
        """Why they are refused without a group."""
        self.limits: Limits = NO_LIMITS
        """Of its domain."""
        self.is_turbo_allowed = False
        """Whether the operator allows it the turbo step."""
        self.has_turbo_right = True
        """The guest's turbo switch: on until it sends DISABLE_TURBO."""
        self.vote_khz = NO_VOTE
        """The guest's vote."""
        self.is_connect_vote = False
        """Whether that vote only comes from CONNECT: the guest has not sent a request
        yet. It does not count beside another vote, or no policy could slow down a DPDK
        guest."""
        self.voter: int | None = None
        """Number of the channel that voted last; the vote ends with it."""
        self.p_state_request_khz = NO_VOTE
        """The frequency that the guest's cpufreq driver requested, of the guest's
        table; UNKNOWN_KHZ: the request may be lost."""
        self.p_state_khz = NO_VOTE
        """The vote that results from it."""
        self.p_state_voter: int | None = None
        """Number of the P-state channel of that vote, which ends with it."""
        self.policy_khz = NO_VOTE
        """A policy's vote; it is ended by main, or when the vCPU leaves the group."""
        self.window: Window | None = None
        """The steps that it can request, updated by `update_window`; None: it
        floats."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups that it votes in."""
        return () if self.group is None else (self.group, *self.siblings)

    def place(self, group: Group | None, siblings: tuple[Group, ...] = ()) -> None:
        """Move it into groups, or (None) out of its groups.

        Its votes end, unless only the siblings change: a thread of its core went
        offline, or came back.
        """
        is_moved = self.group is not group
        if not is_moved and self.siblings == siblings:
            return
        for left in self.groups:
            left.members.remove(self)
        self.group, self.siblings = group, siblings
        for entered in self.groups:
            entered.members.append(self)
        if is_moved:
            self.policy_khz = NO_VOTE
            self.withdraw()
            self.withdraw_p_state()

    def update_window(self) -> None:
        """Recompute its window after a change of its limits, rights or group."""
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

    def requested_khz(self) -> int:
        """Return the frequency that it requests of its group; it must be in one."""
        if self.group is None:
            raise ValueError("a floating vCPU has no requested frequency")
        if not self.domain.is_enforced:
            return self.group.steps.highest_khz
        return self.clamp(self.highest_vote_khz() or self.group.steps.highest_khz)

    def highest_vote_khz(self) -> int:
        """Return the higher of its votes that count; NO_VOTE: it has none."""
        others_khz = max(self.policy_khz, self.p_state_khz)
        if self.is_connect_vote and others_khz:
            return others_khz
        return max(self.vote_khz, others_khz)

    def set_policy_vote(self, khz: int) -> None:
        """Set or end (NO_VOTE) a policy's vote; ignored if the vCPU floats."""
        if self.group is not None:
            self.policy_khz = self.group.steps.round_up(khz) if khz else NO_VOTE

    def set_p_state_vote(self, khz: int, number: int) -> None:
        """Set the vote of the guest's cpufreq driver, from P-state channel `number`."""
        if self.group is not None:
            self.p_state_request_khz = khz
            self.p_state_khz = self.group.steps.round_up(khz)
            self.p_state_voter = number

    def withdraw_p_state(self) -> None:
        """End the vote of the guest's cpufreq driver."""
        self.p_state_request_khz = self.p_state_khz = NO_VOTE
        self.p_state_voter = None

    def clamp(self, khz: int) -> int:
        """Return the nearest step that its limits and its turbo right allow."""
        if self.window is None:
            raise ValueError("a floating vCPU has no steps")
        return self.window.clamp(khz)

    def apply_request(self, unit: int) -> int | None:
        """Return the vote that results from a request and the current vote.

        ENABLE_TURBO and DISABLE_TURBO also set the vCPU's turbo right.

        Returns:
            None: the request is refused: an unknown unit, or turbo is not available.
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

    def would_vote(self, unit: int, vote_khz: int) -> int | None:
        """Return the vote that would result from a request; nothing changes.

        Args:
            unit: of the request.
            vote_khz: the vote that it would have had before; NO_VOTE: none.

        Returns:
            None: the request would be refused.
        """
        own = self.vote_khz, self.has_turbo_right
        self.vote_khz = vote_khz
        result = self.apply_request(unit)
        self.vote_khz, self.has_turbo_right = own
        self.update_window()
        return None if result is None else self.clamp(result)

    def would_vote_p_state(self, khz: int) -> int:
        """Return the vote that would result from a P-state; NO_VOTE: it floats.

        Args:
            khz: the frequency in the guest's table; UNKNOWN_KHZ: a request may be lost.
        """
        return (
            NO_VOTE
            if self.group is None
            else self.clamp(self.group.steps.round_up(khz))
        )

    def _switch_turbo(self, unit: int, steps: FrequencyTable) -> int | None:
        if unit == ENABLE_TURBO and steps.has_turbo and self.is_turbo_allowed:
            self.has_turbo_right = True
            vote_khz = steps.highest_khz
        elif unit == DISABLE_TURBO:
            self.has_turbo_right = False
            # As in librte_power: it takes turbo away, and makes no slow vCPU faster.
            vote_khz = min(self.vote_khz or steps.highest_khz, steps.nominal_khz)
        else:
            return None
        self.update_window()
        return vote_khz

    def withdraw(self) -> None:
        """End the guest's vote, except for P-states, and reset its turbo switch."""
        self.vote_khz = NO_VOTE
        self.is_connect_vote = False
        self.voter = None
        self.has_turbo_right = True
        self.update_window()


class Group:
    """A clock group and the vCPUs that are pinned to it."""

    __slots__ = (
        "has_host_cpus",
        "leaders",
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
        """Of the host and the kernel; the grant is always within them."""
        self.window = window_of(steps)
        """The steps within them; updated by `update_windows`."""
        self.has_host_cpus = False
        """Whether the host's own work may run on its CPUs; it must not be slowed
        down."""
        self.override_khz: int | None = None
        """The operator's frequency, which replaces all requests."""
        self.members: list[VCpu] = []
        self.leaders: list[Domain] = []
        """Domains whose vCPUs it follows."""

    def update_windows(self) -> None:
        """Recompute windows and votes after a change of steps or limits."""
        self.window = window_of(self.steps, self.limits)
        for vcpu in self.members:
            vcpu.update_window()
            if vcpu.vote_khz:
                vcpu.vote_khz = self.steps.round_up(vcpu.vote_khz)
            if vcpu.p_state_khz:
                vcpu.p_state_khz = self.steps.round_up(vcpu.p_state_request_khz)
            vcpu.set_policy_vote(vcpu.policy_khz)

    def has_votes(self) -> bool:
        """Return whether a vCPU of an enforced domain has a vote, even a paused one."""
        own = any(v.highest_vote_khz() and v.domain.is_enforced for v in self.members)
        return own or self._has_leaders_votes()

    def has_unrepeated_votes(self) -> bool:
        """Return whether it has votes that are not repeated until it is taken.

        Those are votes of policies, of cpufreq drivers, which request only what has
        changed, and of vCPUs that it follows: their guests are answered without it.
        """
        own = any(
            (v.policy_khz or v.p_state_khz) and v.domain.is_enforced
            for v in self.members
        )
        return own or self._has_leaders_votes()

    def _has_leaders_votes(self) -> bool:
        return any(domain.has_votes() for domain in self.leaders)

    def target_khz(self) -> int:
        """Return the frequency that the group should have: a step in its window."""
        return self.window.fit(self._wanted_khz())

    def _wanted_khz(self) -> int:
        if self.override_khz is not None:
            return self.override_khz
        highest_khz = self.steps.highest_khz
        if self.has_host_cpus:
            return highest_khz
        requested = [v.requested_khz() for v in self.members if v.domain.is_executing]
        requested += [
            domain.highest_requested_khz() or highest_khz
            for domain in self.leaders
            if domain.is_executing
        ]
        return max(requested, default=highest_khz)

    def sole_voter(self) -> VCpu | None:
        """Return the vCPU whose guest alone decides the frequency, if there is one."""
        if self.override_khz is not None or self.has_host_cpus:
            return None
        if len(self.members) != 1 or self.leaders:
            return None
        vcpu = self.members[0]
        if vcpu.siblings or vcpu.domain.followed_by:  # it decides in several groups
            return None
        is_free = vcpu.domain.is_executing and vcpu.domain.is_enforced
        return vcpu if is_free and vcpu.vote_khz else None
