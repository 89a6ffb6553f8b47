# SPDX-License-Identifier: Apache-2.0
"""Any sequence of onboardings, changes by other tools and failures: values only.

In the end every domain has exactly the channels that it should have: those of other
tools, and those that the rules want, as far as a running domain has ports for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.controller.onboarding import find_rule
from orchestrator.onboarding.rule import MetadataCondition, OnboardRule
from orchestrator.values.domain import DomainChannels, DomainId, DomainSpec, DomainState
from orchestrator.values.domain_settings import DomainSettings
from tests.controller.simulated_host import SimulatedHost, is_right, with_sides
from tests.controller.specs import domain
from tests.properties import examples

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.sampled_from(["dpdk-0", "dpdk-1"])
NUMBERS = st.frozensets(st.integers(0, 3), max_size=3)
RULES = st.sampled_from(
    [
        (),
        (OnboardRule(match="*"),),
        (OnboardRule(match="dpdk-*", channels="0,3"),),
        (OnboardRule(match="dpdk-0", channels="none"), OnboardRule(match="*")),
        (OnboardRule(match="*", except_=("dpdk-1",)),),
        (OnboardRule(pinned=True), OnboardRule(metadata=MetadataCondition.ASKS)),
        (OnboardRule(match="*", metadata=MetadataCondition.IGNORED, channels="1-2"),),
    ]
)
POLICIES = st.sampled_from(
    [None, DomainSettings(onboard=True), DomainSettings(onboard=False)]
)
NOTHING: frozenset[int] = frozenset()


class Onboarding(RuleBasedStateMachine):
    """Domains, tools that change them, and a controller that misses some changes."""

    def __init__(self) -> None:
        super().__init__()
        self.host = SimulatedHost()
        self.runs = 0
        self.theirs: dict[DomainId, tuple[frozenset[int] | None, ...]] = {}
        """Channels of other tools, in each running domain and in its definition."""

    @initialize(rules=RULES)
    def begin(self, rules: tuple[OnboardRule, ...]) -> None:
        """One domain is off, the other is running."""
        self.host.config = Config(onboard=rules)
        self.host.inventory.config = self.host.config
        self.host.start()
        self.define("dpdk-0", frozenset({1}), 4, pinned=True)
        self.define("dpdk-1", NOTHING, 2, pinned=False)
        self.start("dpdk-1")

    @rule(name=NAMES, theirs=NUMBERS, pinned=st.booleans(), ports=st.integers(0, 4))
    def define(
        self, name: str, theirs: frozenset[int], ports: int, *, pinned: bool
    ) -> None:
        """Define or redefine: the tool knows nothing of the rules' channels."""
        spec = domain(name, channels=(), state=DomainState.SHUTOFF, run=-1)
        uuid = spec.uuid
        vcpus = spec.definition.vcpus if spec.definition else frozenset()
        definition = DomainChannels(vcpus=vcpus, present=theirs, free_ports=ports)
        old = self.host.domains.get(uuid)
        if old is not None and old.live is not None:
            self._become(replace(old, definition=definition))
        else:
            self._become(with_sides(replace(spec, is_pinned=pinned), None, definition))

    @rule(name=NAMES)
    def start(self, name: str) -> None:
        old = self._find(name)
        if old is not None and old.live is None and old.definition is not None:
            self.runs += 1
            running = replace(old, state=DomainState.RUNNING, run=self.runs)
            self._become(with_sides(running, old.definition, old.definition))

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        old = self._find(name)
        if old is None or old.live is None:
            return
        if old.definition is None:
            del self.host.domains[old.uuid]
            self.host.react(e.DomainChanged(old.uuid))
            return
        stopped = replace(old, state=DomainState.SHUTOFF, run=-1)
        self._become(with_sides(stopped, None, old.definition))

    @rule(name=NAMES)
    def undefine(self, name: str) -> None:
        """A running domain becomes transient."""
        old = self._find(name)
        if old is not None and old.live is not None:
            self._become(replace(old, definition=None))
        elif old is not None:
            del self.host.domains[old.uuid]
            self.host.react(e.DomainChanged(old.uuid))

    @rule(name=NAMES, state=st.sampled_from([DomainState.PAUSED, DomainState.RUNNING]))
    def pause_or_resume(self, name: str, state: DomainState) -> None:
        old = self._find(name)
        if old is not None and old.live is not None:
            self._become(replace(old, state=state))

    @rule(name=NAMES, policy=POLICIES)
    def write_metadata(self, name: str, policy: DomainSettings | None) -> None:
        old = self._find(name)
        if old is not None:
            self._become(replace(old, settings=policy))

    @rule(name=NAMES, number=st.integers(0, 3), is_live=st.booleans())
    def others_attach(self, name: str, number: int, *, is_live: bool) -> None:
        def attach(held: DomainChannels) -> DomainChannels:
            if number in held.present or not held.free_ports:
                return held
            present, free = held.present | {number}, held.free_ports - 1
            return replace(held, present=present, free_ports=free)

        self._change(name, attach, is_live=is_live)

    @rule(name=NAMES, number=st.integers(0, 3), is_live=st.booleans())
    def others_detach(self, name: str, number: int, *, is_live: bool) -> None:
        def detach(held: DomainChannels) -> DomainChannels:
            if number not in held.present:
                return held
            return replace(
                held,
                present=held.present - {number},
                removable=held.removable - {number},
                free_ports=held.free_ports + 1,
            )

        self._change(name, detach, is_live=is_live)

    @rule(rules=RULES)
    def reload(self, rules: tuple[OnboardRule, ...]) -> None:
        self.host.config = Config(onboard=rules)
        self.host.react(e.ConfigReloaded(self.host.config))

    @rule(name=NAMES, is_stubborn=st.booleans())
    def refuse(self, name: str, *, is_stubborn: bool) -> None:
        uuid = domain(name).uuid
        change = self.host.stubborn.add if is_stubborn else self.host.stubborn.discard
        change(uuid)

    @rule(takes_controllers=st.booleans())
    def restart_libvirt(self, *, takes_controllers: bool) -> None:
        """Another version can plug in controllers, or cannot."""
        self.host.takes_controllers = takes_controllers
        self.host.react(e.LibvirtLost("eof", "2026-01-01T00:00:00+00:00"))
        self.host.react(e.LibvirtConnected())

    @rule()
    def resync(self) -> None:
        self.host.react(e.ResyncDue())

    @precondition(lambda self: self.host.to_do)
    @rule(index=st.integers(0, 20))
    def one_thing_gets_done(self, index: int) -> None:
        """Threads overtake each other."""
        self.host.step(index % len(self.host.to_do))

    @rule()
    def everything_gets_done(self) -> None:
        self.host.settle()
        self._check_foreign_channels()

    def teardown(self) -> None:
        """Without refusals, after a reconnect and a resync, the state is right."""
        self.host.stubborn.clear()
        self.host.settle()
        self.host.react(e.LibvirtConnected())
        self.host.settle()
        self.host.react(e.ResyncDue())
        self.host.settle()
        self._check_foreign_channels()
        for spec in self.host.domains.values():
            self._check(spec)

    def _check(self, spec: DomainSpec) -> None:
        decides = find_rule(self.host.config, spec)
        problem = self.host.inventory.domains[spec.uuid].onboarding.problem
        assert not self.host.inventory.domains[spec.uuid].onboarding.is_under_way
        if spec.definition is not None:
            assert is_right(decides, spec.definition)
        is_planned = spec.live is not None and spec.state.is_executing
        if spec.live is None or not is_planned or is_right(decides, spec.live):
            assert problem == ""
        else:
            lacking = (
                decides.wanted(spec.live.vcpus) - spec.live.present
                if decides
                else NOTHING
            )
            assert lacking
            assert not spec.live.free_ports
            assert not self.host.takes_controllers
            assert "no free port for channel" in problem

    def _check_foreign_channels(self) -> None:
        for uuid, spec in self.host.domains.items():
            sides = self.theirs[uuid]
            for held, theirs in zip((spec.live, spec.definition), sides, strict=True):
                assert theirs == (
                    None if held is None else held.present - held.removable
                )

    def _find(self, name: str) -> DomainSpec | None:
        return self.host.domains.get(domain(name).uuid)

    def _change(
        self,
        name: str,
        change: Callable[[DomainChannels], DomainChannels],
        *,
        is_live: bool,
    ) -> None:
        old = self._find(name)
        if old is None:
            return
        held = old.live if is_live else old.definition
        if held is None:
            return
        changed = change(held)
        live, definition = (changed, old.definition) if is_live else (old.live, changed)
        self._become(with_sides(old, live, definition))

    def _become(self, spec: DomainSpec) -> None:
        """Another tool changed the domain; the note lists the rules' channels."""
        self.host.domains[spec.uuid] = spec
        self.theirs[spec.uuid] = tuple(
            None if held is None else held.present - held.removable
            for held in (spec.live, spec.definition)
        )
        self.host.react(e.DomainChanged(spec.uuid))


TestOnboarding = Onboarding.TestCase
TestOnboarding.settings = settings(
    max_examples=examples(300), stateful_step_count=25, deadline=None, derandomize=True
)
