# SPDX-License-Identifier: Apache-2.0
"""A host in which the controller's actions come true, one outcome at a time.

Not a mock: it keeps what the real performer would cause (which channels are with the
monitor, which groups are taken) and refuses what the real ones would refuse, so that a
test can ask whether the end is right, whatever the order of events was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.controller import Controller
from orchestrator.controller import actions as a
from orchestrator.controller.inventory import Inventory
from orchestrator.monitor.link import commands as c
from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.power.topology import Topology
from orchestrator.sampling.contract import Sampler
from orchestrator.sampling.kinds import SampleKind
from tests.controller.specs import NOW_NS, channel, topology

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.onboarding.rule import OnboardRule
    from orchestrator.policy.subject import PolicyVote
    from orchestrator.sampling.contract import SampleTarget
    from orchestrator.values.domain import (
        DomainChannels,
        DomainId,
        DomainSpec,
    )

SLOW = (
    a.ReadTopology
    | a.ListDomains
    | a.DescribeDomain
    | a.AttachChannels
    | a.AddPorts
    | a.MakePStates
    | a.DetachChannels
    | a.ConnectChannel
    | a.PrepareGroup
    | a.DropGroup
    | a.TakeGroup
    | a.RestoreGroup
    | a.StartMonitor
)
"""Done in threads, so that they overtake each other; the others are done at once."""
JOURNALLED = a.PrepareGroup | a.DropGroup
NOTHING = Topology(groups=(), unmanaged={}, online=frozenset())


class UnreadSampler(Sampler[Any, Any]):
    """Has the obstacle of the host; nothing is read here."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host

    def find_obstacle(self, _target: SampleTarget) -> str | None:
        return self._host.obstacle

    def read(self, _target: SampleTarget) -> NoReturn:
        raise AssertionError("no sample is read here")

    def between(self, *_readings: object) -> NoReturn:
        raise AssertionError("no sample is read here")


@dataclass
class SimulatedHost:
    """What is true outside of the controller."""

    config: Config = field(default_factory=Config)
    topology: Topology = field(default_factory=topology)
    domains: dict[DomainId, DomainSpec] = field(default_factory=dict)
    open_channels: set[tuple[DomainId, int]] = field(default_factory=set)
    held_groups: set[int] = field(default_factory=set)
    taken_groups: set[int] = field(default_factory=set)
    refusing: set[int] = field(default_factory=set)
    """Groups whose governor the kernel will not switch."""
    stubborn: set[DomainId] = field(default_factory=set)
    """Domains to which nothing can be attached, and from which nothing detached."""
    stubborn_live: set[DomainId] = field(default_factory=set)
    """Domains that refuse it while they run, but whose definition can be changed."""
    takes_controllers: bool = False
    """Whether libvirt can plug a virtio-serial controller into a running domain."""
    is_monitor_up: bool = False
    now_ns: int = NOW_NS
    """The time of the monotonic clock."""
    spoke_ns: dict[tuple[DomainId, int], int] = field(default_factory=dict)
    """When a channel's guest last sent anything."""
    votes: dict[tuple[DomainId, int], int | None] = field(default_factory=dict)
    """What policies want."""
    answers: list[c.AnswerPolicy] = field(default_factory=list)
    obstacle: str | None = None
    """Why no policy can see what it needs."""
    reports: list[a.Report] = field(default_factory=list)
    to_do: list[a.Action] = field(default_factory=list)
    posted: list[e.Event] = field(default_factory=list)
    """What came at once of what was decided; the controller reacts to it later."""

    def __post_init__(self) -> None:
        self.inventory = Inventory(self.config, NOTHING)
        self.controller = Controller(self.inventory)
        self.engine = PolicyEngine(
            samplers=dict.fromkeys(SampleKind, UnreadSampler(self)),
            submit=lambda _lane, _uuid, _work: None,
            emit=self._vote,
        )

    def react(self, *happened: e.Event) -> list[a.Action]:
        """Let the controller react; its actions wait until they are performed."""
        decided: list[a.Action] = []
        for event in happened:
            decided += self.controller.react(event)
        for action in decided:
            if isinstance(action, a.ConnectChannel | c.CloseChannel):
                self._cancel_attempt(action.uuid, action.number)
            if isinstance(action, SLOW):
                self.to_do.append(action)
            else:
                self.posted += self.perform(action)
        return decided

    def react_to_posted(self) -> None:
        """Let the controller react to what was posted, until nothing more is."""
        while self.posted:
            self.react(self.posted.pop(0))

    def _next(self, index: int) -> a.Action:
        """Take one that waits; what concerns the journal keeps its order."""
        action = self.to_do[index]
        if isinstance(action, JOURNALLED):
            action = next(x for x in self.to_do if isinstance(x, JOURNALLED))
        self.to_do.remove(action)
        return action

    def _cancel_attempt(self, uuid: str, number: int) -> None:
        # The performer keeps one attempt per channel.
        self.to_do = [
            action
            for action in self.to_do
            if not isinstance(action, a.ConnectChannel)
            or (action.uuid, action.number) != (uuid, number)
        ]

    def _vote(self, vote: PolicyVote) -> None:
        self.votes[vote.uuid, vote.vcpu] = vote.khz

    def start(self) -> None:
        """Everything up, as the daemon does it."""
        self.is_monitor_up = True
        self.react(e.TopologyRead(self.topology), e.MonitorStarted())
        self.react(e.LibvirtConnected())

    def settle(self, choose: Callable[[int], int] = lambda _count: 0) -> None:
        """Perform actions, and what follows from them, until nothing is left.

        Args:
            choose: index of the next action to perform, given how many wait: those
                that run in threads overtake each other.
        """
        for _ in range(10_000):
            self.react_to_posted()
            if not self.to_do:
                return
            self.step(choose(len(self.to_do)) % len(self.to_do))
        raise AssertionError("the controller never comes to rest")

    def step(self, index: int) -> None:
        """Perform an action that waits; the controller reacts to the outcome."""
        self.react(*self.perform(self._next(index)))

    def perform(self, action: a.Action) -> list[e.Event]:
        match action:
            case a.Report():
                self.reports.append(action)
            case a.ReadTopology():
                return [e.TopologyRead(self.topology)]
            case a.ListDomains():
                return [e.DomainsListed(tuple(self.domains))]
            case a.DescribeDomain(uuid):
                if uuid in self.domains:
                    return [e.DomainDescribed(self.domains[uuid], self.now_ns)]
                return [e.DomainVanished(uuid)]
            case a.ConnectChannel(uuid, number, path):
                return self._connect(uuid, number, path)
            case c.CloseChannel(uuid, number):
                self.open_channels.discard((uuid, number))
            case a.EndPortSession(uuid, number, at_ns, is_closed):
                if self.spoke_ns.get((uuid, number), 0) < at_ns:
                    return self._perform_policy(
                        a.EndGuestPolicies(uuid, number, "the guest closed its port")
                    )
                return [e.PortCloseUnconfirmed(uuid, number)] if is_closed else []
            case a.StartMonitor():
                self.is_monitor_up = True
                return [e.MonitorStarted()]
            case a.AttachChannels() | a.DetachChannels():
                return self._change_channels(action)
            case a.AddPorts():
                return self._add_ports(action)
            case a.MakePStates():
                return self._make_p_states(action)
            case a.UpdatePolicySubject() | a.ForgetPolicySubject():
                return self._perform_subject(action)
            case (
                a.InstallPolicy()
                | a.ResumePolicy()
                | a.EndGuestPolicies()
                | c.AnswerPolicy()
            ):
                return self._perform_policy(action)
            case _:
                return self._perform_power(action)
        return []

    def _perform_subject(
        self, action: a.UpdatePolicySubject | a.ForgetPolicySubject
    ) -> list[e.Event]:
        if isinstance(action, a.ForgetPolicySubject):
            self.engine.forget_subject(action.uuid)
            return []
        uuid = action.subject.uuid
        self.engine.update_subject(action.subject)
        outcomes = self.engine.apply_configured(uuid, action.orders)
        kinds = {source: order.policy.kind for source, order in action.orders.items()}
        happened: list[e.Event] = [
            e.PolicyInstalled(uuid, source, kinds[source])
            if problem is None
            else e.PolicyRefused(uuid, source, problem)
            for source, problem in outcomes.items()
        ]
        return [*happened, e.PoliciesChanged(uuid, self.engine.effect(uuid))]

    def _perform_policy(
        self,
        action: a.InstallPolicy | a.ResumePolicy | a.EndGuestPolicies | c.AnswerPolicy,
    ) -> list[e.Event]:
        match action:
            case c.AnswerPolicy():
                self.answers.append(action)
                return []
            case a.EndGuestPolicies(uuid, number, cause):
                before = self.engine.sources(uuid)
                self.engine.end_guest(uuid, number)
                now = self.engine.sources(uuid)
                ended = [s for s in before if s not in now]
                return [
                    *(e.PolicyEnded(uuid, source, cause) for source in ended),
                    e.PoliciesChanged(uuid, self.engine.effect(uuid)),
                ]
            case a.ResumePolicy(uuid, source, order):
                try:
                    self.engine.install(uuid, source, order)
                except PolicyError as error:
                    return [e.PolicyRefused(uuid, source, str(error))]
                kind = order.policy.kind
                return [
                    e.PolicyInstalled(uuid, source, kind, is_resumed=True),
                    e.PoliciesChanged(uuid, self.engine.effect(uuid)),
                ]
            case a.InstallPolicy(uuid, number, ticket, order):
                source = Source(SourceKind.GUEST, channel=number)
                kind = order.policy.kind
                try:
                    is_news = self.engine.install(uuid, source, order)
                except PolicyError as error:
                    return [e.PolicyRefused(uuid, source, str(error), ticket)]
                return [
                    e.PolicyInstalled(uuid, source, kind, ticket, is_news=is_news),
                    e.PoliciesChanged(uuid, self.engine.effect(uuid)),
                ]

    def _perform_power(self, action: a.Action) -> list[e.Event]:
        match action:
            case a.PrepareGroup(group):
                assert group not in self.held_groups, "prepared twice"
                self.held_groups.add(group)
                return [e.GroupPrepared(group)]
            case a.TakeGroup(group):
                assert group in self.held_groups, "taken unprepared"
                if group in self.refusing:
                    return [e.GroupFailed(group, "EINVAL")]
                self.taken_groups.add(group)
                return [e.GroupTaken(group)]
            case a.RestoreGroup(group):
                assert group in self.taken_groups, "restored untaken"
                self.taken_groups.discard(group)
                return [e.GroupRestored(group)]
            case a.UnpinGroup(group):
                assert group in self.taken_groups, "unpinned untaken"
            case a.DropGroup(group):
                assert group not in self.taken_groups, "dropped while taken"
                self.held_groups.discard(group)
            case c.HandOver(group):
                assert group in self.held_groups, "handed over unprepared"
            case _:
                pass  # what is sent to the monitor
        return []

    def _connect(self, uuid: DomainId, number: int, path: str) -> list[e.Event]:
        if not self.is_monitor_up:
            return []
        spec = self.domains.get(uuid)
        listening = spec is not None and spec.state.is_active
        paths = [c.path for c in spec.channels if c.number == number] if spec else []
        if not listening or path not in paths:
            # A real retry waits; here it would spin, so the host gives up for it.
            return []
        self.open_channels.add((uuid, number))
        return [e.ChannelConnected(uuid, number, path)]

    def _change_channels(
        self, action: a.AttachChannels | a.DetachChannels
    ) -> list[e.Event]:
        """All or nothing, as the hypervisor does it."""
        uuid = action.uuid
        spec = self.domains.get(uuid)
        has_sides = spec is not None and (
            (not action.live or spec.live is not None)
            and (not action.config or spec.definition is not None)
        )
        refuses = uuid in self.stubborn or (action.live and uuid in self.stubborn_live)
        if spec is None or not has_sides or refuses:
            return [e.OnboardingFailed(uuid, "refused")]
        is_gain = isinstance(action, a.AttachChannels)
        change = _gain if is_gain else _lose
        live = spec.live and change(spec.live, frozenset(action.live))
        if live and live.free_ports < 0:
            # The ports were used meanwhile; the hypervisor counts them first.
            return [e.OnboardingFailed(uuid, "no ports")]
        config = frozenset(action.config)
        definition = spec.definition and change(spec.definition, config)
        if definition and definition.free_ports < 0:
            # In a definition, libvirt adds controllers by itself.
            definition = _with_ports(definition)
        self.domains[uuid] = with_sides(spec, live, definition)
        done = e.ChannelsAttached if is_gain else e.ChannelsDetached
        return [done(uuid, action.live, action.config)]

    def _make_p_states(self, action: a.MakePStates) -> list[e.Event]:
        uuid = action.uuid
        spec = self.domains.get(uuid)
        if spec is None or uuid in self.stubborn:
            return [e.PStatesMade(uuid, failure="no vCPU can have P-states")]
        is_changed = not spec.has_next_p_states
        self.domains[uuid] = replace(spec, has_next_p_states=True)
        return [e.PStatesMade(uuid, is_changed, tuple(it.vcpu for it in spec.vcpus))]

    def _add_ports(self, action: a.AddPorts) -> list[e.Event]:
        """Plug in as many controllers as are needed, if libvirt can."""
        uuid = action.uuid
        spec = self.domains.get(uuid)
        if spec is None or spec.live is None or uuid in self.stubborn:
            return [e.OnboardingFailed(uuid, "not running, or busy")]
        if not self.takes_controllers:
            return [e.PortsAdded(uuid, "cannot be hot plugged")]
        live = spec.live
        short = _gain(live, frozenset(action.channels))
        added = _with_ports(short).free_ports - short.free_ports
        live = replace(live, free_ports=live.free_ports + added)
        self.domains[uuid] = with_sides(spec, live, spec.definition)
        return [e.PortsAdded(uuid)]


def _with_ports(held: DomainChannels) -> DomainChannels:
    """Add controllers for the ports that are lacking."""
    missing = max(0, -(held.free_ports // 30)) * 30
    return replace(held, free_ports=held.free_ports + missing)


def _gain(held: DomainChannels, numbers: frozenset[int]) -> DomainChannels:
    lacking = numbers - held.present
    return replace(
        held,
        present=held.present | lacking,
        removable=held.removable | lacking,
        free_ports=held.free_ports - len(lacking),
    )


def _lose(held: DomainChannels, numbers: frozenset[int]) -> DomainChannels:
    ours = numbers & held.removable
    return replace(
        held,
        present=held.present - ours,
        removable=held.removable - ours,
        free_ports=held.free_ports + len(ours),
    )


def with_sides(
    spec: DomainSpec, live: DomainChannels | None, definition: DomainChannels | None
) -> DomainSpec:
    """Give a domain other channels."""
    shown = live or definition
    numbers = sorted(shown.present) if shown else []
    channels = tuple(channel(number) for number in numbers)
    return replace(spec, live=live, definition=definition, channels=channels)


def is_right(decides: OnboardRule | None, held: DomainChannels) -> bool:
    """Whether a description has what the rule that decides wants, and no more of it."""
    if decides is None:
        return not held.removable
    wanted = decides.wanted(held.vcpus)
    is_too_much = not decides.follows_vcpus and bool(held.removable - wanted)
    return wanted <= held.present and not is_too_much
