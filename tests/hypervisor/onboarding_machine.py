# SPDX-License-Identifier: Apache-2.0
"""Random onboardings, changes by other tools and failures, over a real libvirt.

The controller decides, the hypervisor acts, libvirt shows the outcome; only the threads
between them are left out, so that a sequence is the same each time.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from typing import TYPE_CHECKING

import libvirt
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.controller import Controller
from orchestrator.controller import actions as a
from orchestrator.controller.inventory import Inventory
from orchestrator.controller.onboarding import find_rule
from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.edit import find_channel
from orchestrator.domain_xml.metadata import POLICY_PREFIX, POLICY_URI
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainGone, VmpowerError
from orchestrator.hypervisor.descriptions import CONFIG, LIVE
from orchestrator.onboarding.rule import MetadataCondition, OnboardRule
from orchestrator.power.topology import Topology
from orchestrator.values.domain import DomainId, DomainSpec
from tests.controller.simulated_host import is_right

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.hypervisor.connection import Hypervisor

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
UUIDS: Mapping[str, DomainId] = {
    "seq-a": DomainId("a0000000-cafe-4c68-8934-da43e4863198"),
    "seq-b": DomainId("b0000000-cafe-4c68-8934-da43e4863198"),
}
NAMES = st.sampled_from(sorted(UUIDS))
NUMBERS = st.frozensets(st.integers(0, 2), max_size=2)
RULES = st.sampled_from(
    [
        (),
        (OnboardRule(match="seq-*"),),
        (OnboardRule(match="seq-*", channels="0,2"),),
        (OnboardRule(match="*", except_=("seq-b",)),),
        (OnboardRule(metadata=MetadataCondition.ASKS),),
    ]
)
POLICIES = st.sampled_from([None, "<policy onboard='yes'/>", "<policy onboard='no'/>"])
SIDES = st.sampled_from([LIVE, CONFIG])


class Listener:
    """Queues the events that libvirt's connection posts, for the controller."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[e.Event] = queue.SimpleQueue()

    def post(self, event: e.Event) -> None:
        assert not isinstance(
            event, e.LibvirtLost | e.LibvirtAwaited | e.GuestPortChanged
        )
        self.events.put(event)


class OnboardingMachine(RuleBasedStateMachine):
    """Steps that both drivers support."""

    has_live_devices = True

    def __init__(
        self, connection: libvirt.virConnect, hypervisor: Hypervisor, listener: Listener
    ) -> None:
        super().__init__()
        self.connection = connection
        self.hypervisor = hypervisor
        self.listener = listener
        nothing = Topology(groups=(), unmanaged={}, online=frozenset())
        self.inventory = Inventory(Config(), nothing)
        self.controller = Controller(self.inventory)

    # steps of other tools

    @initialize(rules=RULES)
    def begin(self, rules: tuple[OnboardRule, ...]) -> None:
        self._settle(e.LibvirtConnected())
        self.reload(rules)
        self.define("seq-a", frozenset({1}), 2)
        self.define("seq-b", frozenset(), 3)
        self.start("seq-b")

    @rule(name=NAMES, theirs=NUMBERS, ports=st.integers(0, 4))
    def define(self, name: str, theirs: frozenset[int], ports: int) -> None:
        """Define or redefine: the tool knows nothing of our note."""
        with suppress(libvirt.libvirtError):  # where it cannot be saved
            self.connection.defineXML(self.definition(name, theirs, ports))
        self._settle()

    @rule(name=NAMES)
    def start(self, name: str) -> None:
        self._call(name, "create")

    @rule(name=NAMES)
    def destroy(self, name: str) -> None:
        self._call(name, "destroy")

    @rule(name=NAMES)
    def undefine(self, name: str) -> None:
        self._call(name, "undefine")

    @rule(name=NAMES, word=st.sampled_from(["suspend", "resume"]))
    def pause_or_resume(self, name: str, word: str) -> None:
        self._call(name, word)

    @rule(name=NAMES, text=POLICIES, side=SIDES)
    def write_metadata(self, name: str, text: str | None, side: int) -> None:
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        self._call(name, "setMetadata", kind, text, POLICY_PREFIX, POLICY_URI, side)

    @rule(rules=RULES)
    def reload(self, rules: tuple[OnboardRule, ...]) -> None:
        self._settle(e.ConfigReloaded(Config(onboard=rules)))

    @rule()
    def resync(self) -> None:
        self._settle(e.ResyncDue())

    def teardown(self) -> None:
        """Without failures, after a reconnect and two resyncs, the state is right."""
        try:
            self.mend()
            for event in (e.LibvirtConnected(), e.ResyncDue(), e.ResyncDue()):
                self._settle(event)
            for uuid in self.hypervisor.list_domains():
                if uuid in UUIDS.values():
                    self._check(self.hypervisor.describe(uuid))
        finally:
            self._remove_all()

    # differences between the drivers

    def definition(self, name: str, theirs: frozenset[int], ports: int) -> str:
        raise NotImplementedError

    def attach(self, action: a.AttachChannels) -> None:
        self.hypervisor.attach_channels(action.uuid, action.live, action.config)

    def detach(self, action: a.DetachChannels) -> None:
        self.hypervisor.detach_channels(action.uuid, action.live, action.config)

    def mend(self) -> None:
        """End all failures."""

    # steps of the daemon

    def _settle(self, *happened: e.Event) -> None:
        """Perform everything that is decided; channels of other tools must stay."""
        before = {uuid: self._theirs(uuid) for uuid in UUIDS.values()}
        to_do = [action for event in happened for action in self._react(event)]
        for _ in range(500):
            with suppress(queue.Empty):
                to_do += self._react(self.listener.events.get_nowait())
                continue
            if not to_do:
                break
            for event in self._perform(to_do.pop(0)):
                to_do += self._react(event)
        else:
            raise AssertionError("the controller never settles")
        assert {uuid: self._theirs(uuid) for uuid in UUIDS.values()} == before

    def _react(self, event: e.Event) -> list[a.Action]:
        return self.controller.react(event)

    def _perform(self, action: a.Action) -> list[e.Event]:
        match action:
            case a.ListDomains():
                return [e.DomainsListed(self.hypervisor.list_domains())]
            case a.DescribeDomain(uuid):
                try:
                    return [e.DomainDescribed(self.hypervisor.describe(uuid), 0)]
                except DomainGone:
                    return [e.DomainVanished(uuid)]
            case a.AttachChannels() | a.DetachChannels():
                return [self._change(action)]
            case a.AddPorts(uuid, channels):
                return [self._add_ports(uuid, channels)]
            case _:
                return []

    def _change(self, action: a.AttachChannels | a.DetachChannels) -> e.Event:
        before = self._all(action.uuid)
        try:
            if isinstance(action, a.AttachChannels):
                self.attach(action)
                return e.ChannelsAttached(action.uuid, action.live, action.config)
            self.detach(action)
            return e.ChannelsDetached(action.uuid, action.live, action.config)
        except VmpowerError as error:
            if isinstance(action, a.AttachChannels):
                assert self._all(action.uuid) == before, (
                    "a failed change was not undone completely"
                )
            return e.OnboardingFailed(action.uuid, str(error))

    def _add_ports(self, uuid: DomainId, channels: tuple[int, ...]) -> e.Event:
        try:
            return e.PortsAdded(uuid, self.hypervisor.add_ports(uuid, channels))
        except VmpowerError as error:
            return e.OnboardingFailed(uuid, str(error))

    def _check(self, spec: DomainSpec) -> None:
        decides = find_rule(self.inventory.config, spec)
        problem = self.inventory.domains[spec.uuid].onboarding.problem
        if spec.definition is not None:
            assert is_right(decides, spec.definition), spec
        if spec.live is None or not spec.state.is_executing:
            assert problem == ""
        elif self.has_live_devices and not is_right(decides, spec.live):
            assert decides, spec
            lacking = decides.wanted(spec.live.vcpus) - spec.live.present
            assert lacking
            assert not spec.live.free_ports
            assert "no free port for channel" in problem

    def _all(self, uuid: DomainId) -> list[frozenset[int] | None]:
        """All channels of the running domain and of its definition."""
        found = self._find(uuid)
        if found is None:
            return []
        flags = (0, INACTIVE) if found.isActive() else (INACTIVE,)
        return [parse_domain(found.XMLDesc(flag)).numbers for flag in flags]

    def _theirs(self, uuid: DomainId) -> list[frozenset[int]]:
        found = self._find(uuid)
        if found is None:
            return []
        flags = (0, INACTIVE) if found.isActive() else (INACTIVE,)
        parsed = [parse_domain(found.XMLDesc(flag)) for flag in flags]
        return [item.numbers - item.note.by_rule for item in parsed]

    def _find(self, uuid: DomainId) -> libvirt.virDomain | None:
        with suppress(libvirt.libvirtError):
            return self.connection.lookupByUUIDString(uuid)
        return None

    def _call(self, name: str, method: str, *arguments: object) -> None:
        """Make a change like another tool, if it is possible now."""
        found = self._find(UUIDS[name])
        if found is not None:
            with suppress(libvirt.libvirtError):
                getattr(found, method)(*arguments)
        self._settle()

    def _remove_all(self) -> None:
        for uuid in UUIDS.values():
            found = self._find(uuid)
            if found is None:
                continue
            is_active = found.isActive()
            if found.isPersistent():
                found.undefine()
            if is_active:
                found.destroy()


class DeviceMachine(OnboardingMachine):
    """Other tools attach and detach channels, too."""

    @rule(name=NAMES, number=st.integers(0, 2), side=SIDES)
    def others_attach(self, name: str, number: int, side: int) -> None:
        found = self._find(UUIDS[name])
        flag = 0 if side == LIVE else INACTIVE
        # Only with a free port: libvirt would leave a controller that QEMU lacks.
        if found is not None and parse_domain(found.XMLDesc(flag)).free_ports:
            self._call(name, "attachDeviceFlags", build_channel(number), side)

    @rule(name=NAMES, number=st.integers(0, 2), side=SIDES)
    def others_detach(self, name: str, number: int, side: int) -> None:
        found = self._find(UUIDS[name])
        flag = 0 if side == LIVE else INACTIVE
        element = found and find_channel(found.XMLDesc(flag), number)
        if element:
            self._call(name, "detachDeviceFlags", element, side)
