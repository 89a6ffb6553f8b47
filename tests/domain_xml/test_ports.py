# SPDX-License-Identifier: Apache-2.0
"""Ports for channels beside virtio consoles, which libvirt forgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.edit import (
    add_channels,
    build_further_channels,
    build_further_controllers,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from tests.domain_xml.domains import domain_xml

CONTROLLER = "<controller type='virtio-serial' index='0'/>"
CONSOLE = "<console type='pty'><target type='virtio'/></console>"


def qemu_places(xml: str) -> dict[int, set[int]]:
    """Start a domain as QEMU does; the ports that are taken, by controller.

    Source: virtser_port_device_realize; the last controller gets the consoles.
    """
    root = etree.fromstring(xml)
    taken = {
        int(it.get("index", "0")): set[int]()
        for it in root.iterfind("devices/controller[@type='virtio-serial']")
    }
    for address in root.iterfind("devices/*/address[@type='virtio-serial']"):
        ports = taken[int(address.get("controller", "0"))]
        port = int(address.get("port", "0"))
        assert port not in ports
        assert 1 <= port < 31
        ports.add(port)
    for _ in root.iterfind("devices/console"):
        ports = taken[max(taken)]
        port = min(set(range(32)) - ports)
        assert port < 31, "out-of-range port id"
        ports.add(port)
    return taken


@given(
    consoles=st.integers(2, 12), channels=st.integers(1, 70), count=st.integers(0, 2)
)
def test_a_domain_with_consoles_still_starts(
    consoles: int, channels: int, count: int
) -> None:
    controllers = [CONTROLLER.replace("0", str(index)) for index in range(count)]
    xml = domain_xml(*controllers, *[CONSOLE] * consoles, run=-1)
    edited = add_channels(xml, range(channels))
    taken = qemu_places(edited)
    assert sum(map(len, taken.values())) == channels + consoles
    assert {it.number for it in parse_domain(edited).channels} == set(range(channels))


def test_a_controller_is_added_before_the_consoles_lack_ports() -> None:
    xml = domain_xml(CONTROLLER, *[CONSOLE] * 4, run=-1)
    assert parse_domain(xml).free_ports == 27
    assert add_channels(xml, range(27)).count("<controller") == 1
    assert add_channels(xml, range(28)).count("<controller") == 2


def test_a_running_domain_gets_channels_at_ports_that_no_console_has() -> None:
    xml = domain_xml(live_controller(0), CONSOLE, CONSOLE)
    elements = build_further_channels(xml, {0, 3})
    addresses = [etree.fromstring(it).find("address") for it in elements.values()]
    assert [it is not None and it.get("port") for it in addresses] == ["30", "29"]
    assert list(elements) == [0, 3]


@pytest.mark.parametrize(
    ("count", "indexes"), [(0, []), (30, []), (31, ["1"]), (61, ["1", "2"])]
)
def test_controllers_are_built_for_channels_that_do_not_fit(
    count: int, indexes: list[str]
) -> None:
    xml = domain_xml(live_controller(0))
    elements = build_further_controllers(xml, range(count))
    assert [etree.fromstring(it).get("index") for it in elements] == indexes


def test_no_controller_is_built_for_a_channel_that_no_guest_can_use() -> None:
    with pytest.raises(DomainXmlError, match="above 1279"):
        build_further_controllers(domain_xml(), [5000])


def test_beside_a_controller_that_qemu_lacks_others_are_built_and_used() -> None:
    """Of an absent one, libvirt would choose ports."""
    absent = "<controller type='virtio-serial' index='1'/>"
    full = live_controller(0, ports=1)
    xml = domain_xml(full, absent)
    [element] = build_further_controllers(xml, [0])
    assert etree.fromstring(element).get("index") == "2"
    channels = build_further_channels(domain_xml(full, absent, live_controller(2)), [0])
    address = etree.fromstring(channels[0]).find("address")
    assert address is not None
    assert address.get("controller") == "2"


def live_controller(index: int, ports: int = 31) -> str:
    alias = f"<alias name='virtio-serial{index}'/>"
    head = f"<controller type='virtio-serial' index='{index}' ports='{ports}'>"
    return f"{head}{alias}</controller>"


@pytest.mark.parametrize("devices", [(), (CONSOLE,)])
def test_without_several_consoles_libvirt_chooses_the_ports(
    devices: tuple[str, ...],
) -> None:
    xml = domain_xml(CONTROLLER, *devices)
    assert build_further_channels(xml, [0]) == {0: build_channel(0)}


def test_one_console_counts_if_another_device_has_port_0() -> None:
    address = "<address type='virtio-serial' controller='0' bus='0' port='0'/>"
    agent = f"<channel type='unix'><target type='virtio'/>{address}</channel>"
    assert parse_domain(domain_xml(CONTROLLER, CONSOLE, agent)).free_ports == 29


def test_more_consoles_than_a_controller_has_ports_are_an_error() -> None:
    with pytest.raises(DomainXmlError, match="31 virtio consoles leave no port free"):
        add_channels(domain_xml(CONTROLLER, *[CONSOLE] * 31), [0])
