# SPDX-License-Identifier: Apache-2.0
"""Attaching and detaching on a real QEMU whose guest stays in its BIOS."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from examples.guests.embed import EmbedRoot
from orchestrator.config import Access
from orchestrator.domain_xml.channel import build_target
from orchestrator.domain_xml.note import NOTE_URI
from orchestrator.errors import DomainGone, HypervisorError
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.operator import OperatorConnection
from orchestrator.values.domain import DomainChannels, DomainId, VCpu
from tests.hypervisor.bios_guest import (
    CONFIG,
    CONTROLLER,
    INACTIVE,
    LIVE,
    UUID,
    Guest,
    channel,
    definition,
    free_ports,
)
from tests.rig.echo import EchoHost
from tests.rig.guest import GuestSpec

if TYPE_CHECKING:
    from tests.hypervisor.conftest import Recorder
    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig

ACPI = "<acpi/>"
CONSOLE = "<console type='pty'><target type='virtio'/></console>"
FULL = "<controller type='virtio-serial' index='0' ports='1'/>"


def test_channels_are_attached_to_the_domain_and_its_definition(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition())
    hypervisor.attach_channels(UUID, [0, 1], [0, 1])
    assert guest.both() == ([0, 1], [0, 1])
    assert guest.notes() == ({0, 1}, {0, 1})
    spec = hypervisor.describe(UUID)
    assert spec.live == DomainChannels(
        vcpus=frozenset({VCpu(0), VCpu(1)}),
        present=frozenset({0, 1}),
        removable=frozenset({0, 1}),
        free_ports=28,
    )
    assert spec.definition == spec.live
    assert all(item.path for item in hypervisor.describe(UUID).channels)


def test_attaching_again_changes_nothing(
    hypervisor: Hypervisor, guest: Guest, recorder: Recorder
) -> None:
    guest.start(definition())
    hypervisor.attach_channels(UUID, [0, 1], [0, 1])
    hypervisor.attach_channels(UUID, [0, 1], [0, 1])
    assert guest.both() == ([0, 1], [0, 1])
    added = [item for item in recorder.recorded_of("changed") if "device" in item[2]]
    assert len(added) == 2


def test_only_missing_channels_are_attached_and_only_these_are_detached(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition(CONTROLLER + channel(0)))
    guest.domain.attachDeviceFlags(channel(1), LIVE)
    guest.domain.attachDeviceFlags(channel(2), CONFIG)
    hypervisor.attach_channels(UUID, [0, 1, 2, 3], [0, 1, 2, 3])
    assert guest.both() == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert guest.notes() == ({2, 3}, {1, 3})
    spec = hypervisor.describe(UUID)
    assert spec.live
    assert spec.definition
    assert spec.live.removable == {2, 3}
    assert spec.definition.removable == {1, 3}
    hypervisor.detach_channels(UUID, [0, 1, 2, 3], [0, 1, 2, 3])
    assert guest.both() == ([0, 1], [0, 2])
    assert guest.notes() == (set(), set())


def test_only_the_given_numbers_are_detached(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition())
    hypervisor.attach_channels(UUID, [0, 1, 2], [0, 1, 2])
    hypervisor.detach_channels(UUID, [1, 7], [1, 7])
    assert guest.both() == ([0, 2], [0, 2])
    assert guest.notes() == ({0, 2}, {0, 2})
    hypervisor.detach_channels(UUID, [1, 7], [1, 7])
    assert guest.both() == ([0, 2], [0, 2])


def test_channels_of_an_earlier_daemon_are_detached_and_foreign_metadata_stays(
    hypervisor: Hypervisor, guest: Guest, recorder: Recorder
) -> None:
    guest.start(definition())
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    guest.domain.setMetadata(element, "<theirs/>", "x", "urn:x", LIVE)
    hypervisor.attach_channels(UUID, [0], [0])
    hypervisor.close(5)
    later = Hypervisor(hypervisor.uri, post=recorder.post)
    later.start()
    recorder.wait_for("connected", times=2)
    later.detach_channels(UUID, [0], [0])
    later.close(5)
    assert guest.both() == ([], [])
    assert guest.domain.metadata(element, "urn:x", LIVE) == "<theirs/>"


def test_after_another_tool_overwrote_the_note_nothing_is_detached(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition())
    hypervisor.attach_channels(UUID, [0], [0])
    guest.domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<x/>", "x", NOTE_URI, LIVE | CONFIG
    )
    hypervisor.detach_channels(UUID, [0], [0])
    assert guest.both() == ([0], [0])


def test_channels_of_a_domain_that_was_powered_off_are_detached_from_its_definition(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition())
    hypervisor.attach_channels(UUID, [0], [0])
    guest.domain.destroy()
    assert guest.numbers(INACTIVE) == [0]
    with pytest.raises(HypervisorError, match="not running"):
        hypervisor.detach_channels(UUID, [0], [0])
    hypervisor.detach_channels(UUID, [], [0])
    assert guest.numbers(INACTIVE) == []


def test_a_transient_domain_has_no_definition_to_change(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.domain = guest.connection.createXML(definition(), 0)
    assert hypervisor.describe(UUID).definition is None
    with pytest.raises(HypervisorError, match="transient"):
        hypervisor.attach_channels(UUID, [0], [0])
    hypervisor.attach_channels(UUID, [0], [])
    assert guest.numbers(0) == [0]
    hypervisor.detach_channels(UUID, [0], [])
    assert guest.numbers(0) == []


def test_a_domain_without_a_controller_has_to_be_powered_off(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition(devices=""))
    assert free_ports(hypervisor) == 0
    with pytest.raises(HypervisorError, match="1 needed, 0 free") as caught:
        hypervisor.attach_channels(UUID, [0], [0])
    assert "power the domain off and on" in caught.value.hint
    assert guest.both() == ([], [])
    assert guest.notes() == (set(), set())


def test_a_running_domain_gets_ports_where_libvirt_can_plug_in_a_controller(
    hypervisor: Hypervisor, guest: Guest, session_host: SessionHost
) -> None:
    """Debian 13's libvirt can, Debian 12's cannot."""
    can_plug = session_host.can_plug_controllers()
    guest.start(definition(devices="", features=ACPI))
    obstacle = hypervisor.add_ports(UUID, range(31))
    assert bool(obstacle) is not can_plug
    if not can_plug:
        assert "cannot be hot plugged" in obstacle
        assert free_ports(hypervisor) == 0
        return
    assert free_ports(hypervisor) == 60
    hypervisor.attach_channels(UUID, range(31), [])
    assert guest.numbers(0) == list(range(31))
    assert hypervisor.add_ports(UUID, range(31)) == ""
    assert free_ports(hypervisor) == 29
    hypervisor.detach_channels(UUID, range(31), [])
    assert guest.numbers(0) == []
    # libvirt cannot remove a controller from a running domain.
    assert free_ports(hypervisor) == 60


def test_a_domain_with_added_ports_is_restored_from_its_saved_state(
    hypervisor: Hypervisor, guest: Guest, session_host: SessionHost
) -> None:
    if not session_host.can_plug_controllers():
        pytest.skip("this libvirt cannot plug in a virtio-serial controller")
    guest.start(definition(devices="", features=ACPI))
    hypervisor.add_ports(UUID, [0])
    hypervisor.attach_channels(UUID, [0], [])
    guest.domain.managedSave(0)
    guest.domain.create()
    assert guest.both() == ([0], [])


@pytest.mark.parametrize(
    ("devices", "features", "reason"),
    [
        ("", "", "hot ?plug"),  # without ACPI, PCI devices cannot be plugged in
        (FULL + CONSOLE, ACPI, "virtio console could not be restored or migrated"),
    ],
)
def test_a_domain_that_cannot_take_a_controller_stays_as_it_is(
    hypervisor: Hypervisor, guest: Guest, devices: str, features: str, reason: str
) -> None:
    guest.start(definition(devices, features=features))
    before = guest.domain.XMLDesc(0)
    assert re.search(reason, hypervisor.add_ports(UUID, [0]))
    assert guest.domain.XMLDesc(0) == before


def test_ports_are_added_beside_a_controller_that_qemu_lacks(
    hypervisor: Hypervisor, guest: Guest, session_host: SessionHost
) -> None:
    """A request for more channels than fit makes libvirt leave one behind."""
    if not session_host.can_plug_controllers():
        pytest.skip("this libvirt cannot plug in a virtio-serial controller")
    guest.start(definition(FULL, features=ACPI))
    with pytest.raises(libvirt.libvirtError):
        guest.domain.attachDeviceFlags(channel(7), LIVE)
    assert "<controller type='virtio-serial' index='1'/>" in guest.domain.XMLDesc(0)
    assert hypervisor.add_ports(UUID, [0]) == ""
    hypervisor.attach_channels(UUID, [0], [])
    assert guest.numbers(0) == [0]


def test_the_thirtieth_channel_is_the_last_and_no_more_are_requested(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition())
    hypervisor.attach_channels(UUID, range(29), range(29))
    assert free_ports(hypervisor) == 1
    with pytest.raises(HypervisorError, match="2 needed, 1 free"):
        hypervisor.attach_channels(UUID, [29, 30], [29, 30])
    hypervisor.attach_channels(UUID, [29], [29])
    assert free_ports(hypervisor) == 0
    assert guest.both() == (list(range(30)), list(range(30)))
    assert guest.domain.XMLDesc(0).count("type='virtio-serial' index=") == 1


def test_a_live_refusal_in_the_middle_undoes_everything(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(definition(CONTROLLER + channel(0)))
    [present] = hypervisor.describe(UUID).channels
    # Where a directory is, libvirt cannot create a socket.
    Path(present.path or "").with_name(build_target(2)).mkdir()
    with pytest.raises(HypervisorError, match=r"poweragent\.2"):
        hypervisor.attach_channels(UUID, [1, 2, 3], [1, 2, 3])
    assert guest.both() == ([0], [0])
    assert guest.notes() == (set(), set())


def test_a_definition_that_cannot_be_saved_undoes_the_running_domain(
    hypervisor: Hypervisor, guest: Guest, session_host: SessionHost
) -> None:
    guest.start(definition())
    saved = session_host.directory / "libvirt" / "qemu" / "guest.xml"
    # libvirt replaces the file, which a directory in its place prevents.
    saved.unlink()
    saved.mkdir()
    try:
        with pytest.raises(HypervisorError):
            hypervisor.attach_channels(UUID, [1, 2], [1, 2])
        assert guest.numbers(0) == []
        assert guest.notes()[0] == set()
    finally:
        saved.rmdir()
        guest.connection.defineXML(definition())


def test_a_domain_that_is_off_is_refused(hypervisor: Hypervisor, guest: Guest) -> None:
    guest.domain = guest.connection.defineXML(definition())
    with pytest.raises(HypervisorError, match="not running"):
        hypervisor.attach_channels(UUID, [0], [0])
    assert guest.numbers(INACTIVE) == []


def test_channels_of_a_definition_and_their_note_are_there_after_the_start(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.domain = guest.connection.defineXML(definition(devices=""))
    hypervisor.attach_channels(UUID, [], [0, 1])
    guest.domain.create()
    spec = hypervisor.describe(UUID)
    assert spec.live
    assert spec.live.removable == {0, 1}
    hypervisor.detach_channels(UUID, [0, 1], [])
    assert guest.both() == ([], [0, 1])


def test_no_rule_detaches_what_was_attached_by_hand(
    hypervisor: Hypervisor, guest: Guest, session_host: SessionHost
) -> None:
    guest.start(definition())
    with OperatorConnection(session_host.uri) as operator:
        operator.onboard(UUID, frozenset({0}))
        hypervisor.attach_channels(UUID, [1], [1])
        spec = hypervisor.describe(UUID)
        assert spec.live
        assert spec.live.removable == {1}
        hypervisor.detach_channels(UUID, [0, 1], [0, 1])
        assert guest.both() == ([0], [0])
        operator.offboard(UUID)
    assert guest.both() == ([], [])


def test_an_undefined_domain_is_refused(hypervisor: Hypervisor) -> None:
    with pytest.raises(DomainGone):
        hypervisor.attach_channels(UUID, [0], [0])


def test_attaching_works_beside_a_read_only_connection(
    session_host: SessionHost, guest: Guest, recorder: Recorder
) -> None:
    guest.start(definition())
    reader = Hypervisor(session_host.uri, post=recorder.post, access=Access.READ_ONLY)
    reader.start()
    recorder.wait_for("connected")
    reader.attach_channels(UUID, [0], [0])
    assert guest.both() == ([0], [0])
    recorder.wait_for("changed", UUID, "device channel0 added")
    reader.detach_channels(UUID, [0], [0])
    reader.close(5)
    assert guest.both() == ([], [])


def test_a_hot_plugged_channel_works(
    hypervisor: Hypervisor, session_host: SessionHost
) -> None:
    guest = session_host.start(GuestSpec(name="hotplug", channels=()))
    uuid = DomainId(str(guest.uuid))
    try:
        assert guest.talker is not None  # the guest has booted
        hypervisor.attach_channels(uuid, [5], [5])
        [channel] = hypervisor.describe(uuid).channels
        with EchoHost([channel.path or ""]):
            guest.talker.run("open:5")
            # The guest's kernel notices the connection a moment later.
            assert guest.talker.request(5, 3) == "ack"
    finally:
        guest.remove()


EMBEDDED = """
import sys, threading
from orchestrator.events import LibvirtConnected
from orchestrator.hypervisor.connection import Hypervisor
xml, uuid, root = sys.argv[1:]
connected = threading.Event()
def post(event):
    if isinstance(event, LibvirtConnected): connected.set()
hypervisor = Hypervisor(f"qemu:///embed?root={root}", post=post)
hypervisor.start()
connected.wait()
with hypervisor._using_link() as link:
    domain = link.connection.defineXML(xml)
domain.create()
for round in range(30):
    hypervisor.attach_channels(uuid, [0], [0])
    assert [c.number for c in hypervisor.describe(uuid).channels] == [0]
    hypervisor.detach_channels(uuid, [0], [0])
domain.destroy()
hypervisor.close(5)
print("done")
"""


def test_an_embedded_driver_is_opened_once_however_often_it_is_attached_to() -> None:
    # In a separate process, because a process can open such a driver only once.
    with EmbedRoot() as root:
        done = subprocess.run(
            [sys.executable, "-c", EMBEDDED, definition(), UUID, str(root.directory)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.stdout == "done\n"
