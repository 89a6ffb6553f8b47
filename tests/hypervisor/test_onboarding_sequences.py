# SPDX-License-Identifier: Apache-2.0
"""Any sequence of domain events, onboardings and failures ends in the right state."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import libvirt
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.domain_xml.note import (
    NOTE_PREFIX,
    NOTE_URI,
    Note,
    build_note,
    parse_note,
)
from orchestrator.errors import HypervisorError
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.operator import OperatorConnection
from tests.hypervisor.onboarding_machine import (
    INACTIVE,
    NAMES,
    UUIDS,
    DeviceMachine,
    Listener,
    OnboardingMachine,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from orchestrator.controller import actions as a
    from orchestrator.values.domain import DomainId
    from tests.rig.embed import EmbedHost

LIVE_REFUSAL = "the test driver attaches nothing to a running domain"


class TestDriverMachine(OnboardingMachine):
    """libvirt's test driver cannot attach devices, so definitions are replaced.

    Everything else is the driver's own: lifecycle, metadata, two descriptions, events.
    """

    has_live_devices = False
    __test__ = False

    def definition(self, name: str, theirs: frozenset[int], _ports: int) -> str:
        xml = (
            f"<domain type='test'><name>{name}</name><uuid>{UUIDS[name]}</uuid>"
            "<memory>1024</memory><vcpu>2</vcpu><os><type>hvm</type></os>"
            "<devices></devices></domain>"
        )
        return add_channels(xml, theirs)

    def attach(self, action: a.AttachChannels) -> None:
        if action.live:
            raise HypervisorError(LIVE_REFUSAL)
        lacking = frozenset(action.config)
        with translated():
            xml = self._defined(action.uuid)
            note = parse_note(xml).with_channels(lacking, is_by_rule=True)
            self._replace(action.uuid, add_channels(xml, lacking), note)

    def detach(self, action: a.DetachChannels) -> None:
        unwanted = frozenset(action.config)
        if unwanted:
            self._take(action.uuid, unwanted)
        if action.live:
            raise HypervisorError(LIVE_REFUSAL)

    def _take(self, uuid: DomainId, unwanted: frozenset[int]) -> None:
        with translated():
            xml = remove_channels(self._defined(uuid), unwanted)
            note = parse_note(xml)
            self._replace(uuid, xml, note.within(note.numbers - unwanted))

    def _defined(self, uuid: DomainId) -> str:
        return str(self.connection.lookupByUUIDString(uuid).XMLDesc(INACTIVE))

    def _replace(self, uuid: DomainId, xml: str, note: Note) -> None:
        self.connection.defineXML(xml)
        self.connection.lookupByUUIDString(uuid).setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            build_note(replace(note, controllers=frozenset())),
            NOTE_PREFIX,
            NOTE_URI,
            libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )


class QemuMachine(DeviceMachine):
    """Real QEMUs that stay in their firmware, and definitions that cannot be saved."""

    __test__ = False
    host: EmbedHost
    operator: OperatorConnection

    def definition(self, name: str, theirs: frozenset[int], ports: int) -> str:
        controller = f"<controller type='virtio-serial' index='0' ports='{ports + 1}'/>"
        xml = (
            f"<domain type='qemu'><name>{name}</name><uuid>{UUIDS[name]}</uuid>"
            "<memory unit='MiB'>32</memory><vcpu>2</vcpu>"
            "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
            "<features><acpi/></features>"  # for libvirts that can plug in controllers
            f"<devices>{controller if ports else ''}<memballoon model='none'/>"
            "</devices></domain>"
        )
        return add_channels(xml, theirs)

    @rule(name=NAMES, numbers=st.none() | st.just(frozenset({0})))
    def an_operator_onboards(self, name: str, numbers: frozenset[int] | None) -> None:
        if self._find(UUIDS[name]) is not None:
            with suppress(HypervisorError):  # where it cannot be saved
                self.operator.onboard(UUIDS[name], numbers)
        self._settle()

    @rule(name=NAMES)
    def an_operator_offboards(self, name: str) -> None:
        if self._find(UUIDS[name]) is not None:
            with suppress(HypervisorError):
                self.operator.offboard(UUIDS[name])
        self._settle()

    @rule(name=NAMES)
    def its_definition_cannot_be_saved(self, name: str) -> None:
        saved = self._file(name)
        if saved.is_file():
            # libvirt replaces the file, which a directory in its place prevents.
            saved.rename(saved.with_suffix(".kept"))
            saved.mkdir()

    @rule()
    def mend(self) -> None:
        for name in UUIDS:
            if self._file(name).is_dir():
                self._file(name).rmdir()
                self._file(name).with_suffix(".kept").rename(self._file(name))

    def _file(self, name: str) -> Path:
        return self.host.root.directory / "etc" / "qemu" / f"{name}.xml"


@pytest.fixture
def listener() -> Listener:
    return Listener()


def connect(uri: str, listener: Listener) -> Hypervisor:
    hypervisor = Hypervisor(uri, post=listener.post)
    hypervisor.start()
    wait_for(lambda: not listener.events.empty(), "libvirt is connected")
    return hypervisor


@pytest.fixture
def test_driver(tmp_path: Path, listener: Listener) -> Iterator[Hypervisor]:
    node = tmp_path / "node.xml"
    node.write_text("<node/>")
    hypervisor = connect(f"test://{node}", listener)
    yield hypervisor
    hypervisor.close(5)


def test_any_sequence_in_the_test_driver(
    test_driver: Hypervisor, listener: Listener
) -> None:
    # The connection itself: each open of a file has its own domains.
    with test_driver._using_link() as link:
        run(partial(TestDriverMachine, link.connection, test_driver, listener), 60)


@pytest.mark.rig
def test_any_sequence_with_real_qemu_processes(
    embed_host: EmbedHost, listener: Listener
) -> None:
    hypervisor = connect(embed_host.uri, listener)

    with OperatorConnection(embed_host.uri) as operator:

        def machine() -> QemuMachine:
            made = QemuMachine(embed_host.connection, hypervisor, listener)
            made.host, made.operator = embed_host, operator
            return made

        try:
            run(machine, 30, phases=[Phase.generate])
        finally:
            hypervisor.close(5)


def run(
    machine: Callable[[], OnboardingMachine],
    examples: int,
    phases: Sequence[Phase] = tuple(Phase),
) -> None:
    """Run the same sequences every time."""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type] # anything that makes one will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
