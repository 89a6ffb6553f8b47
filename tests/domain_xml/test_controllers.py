# SPDX-License-Identifier: Apache-2.0
"""Controllers that came with channels, and can go with them."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.controllers import (
    find_idle_controller,
    find_plug_obstacle,
    list_controllers,
)
from tests.domain_xml.domains import domain_xml

SERIAL = "<controller type='virtio-serial' index='0'>{}</controller>"
AT_BUS_4 = "<address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>"
SERIAL_AT_BUS_4 = SERIAL.format(AT_BUS_4)
ROOT_PORT = "<controller type='pci' index='{}' model='pcie-root-port'/>"
CONSOLE = "<console type='pty'><target type='{}'/>{}</console>"
AT_PORT_0 = "<address type='virtio-serial' controller='0' bus='0' port='0'/>"
USB = "<controller type='usb' index='0'/>"
CHANNEL = (
    "<channel type='unix'><target type='virtio' name='a'/>"
    "<address type='virtio-serial' controller='0' bus='0' port='1'/></channel>"
)


def test_only_controllers_of_channels_and_of_pci_are_listed() -> None:
    xml = domain_xml(SERIAL_AT_BUS_4, ROOT_PORT.format(4), USB)
    assert list_controllers(xml) == {"virtio-serial:0", "pci:4"}


def test_a_controller_with_a_channel_stays() -> None:
    xml = domain_xml(SERIAL_AT_BUS_4, CHANNEL)
    assert find_idle_controller(xml, ["virtio-serial:0"]) is None


def test_a_controller_goes_before_the_port_that_it_plugs_into() -> None:
    names = ["pci:4", "virtio-serial:0"]
    full = domain_xml(SERIAL_AT_BUS_4, ROOT_PORT.format(4))
    first = find_idle_controller(full, names)
    assert first is not None
    assert "virtio-serial" in first
    rest = domain_xml(ROOT_PORT.format(4))
    second = find_idle_controller(rest, names)
    assert second is not None
    assert "pcie-root-port" in second


def test_a_port_with_a_device_stays() -> None:
    xml = domain_xml(SERIAL_AT_BUS_4, CHANNEL, ROOT_PORT.format(4))
    assert find_idle_controller(xml, ["pci:4"]) is None


def test_the_last_port_goes_first() -> None:
    xml = domain_xml(*(ROOT_PORT.format(index) for index in (4, 5)))
    found = find_idle_controller(xml, ["pci:4", "pci:5"])
    assert found is not None
    assert "index='5'" in found.replace('"', "'")


def test_names_that_the_domain_does_not_have_are_passed_over() -> None:
    assert find_idle_controller(domain_xml(USB), ["pci:9", "usb:0"]) is None


def test_an_address_without_a_number_uses_nothing() -> None:
    odd = "<disk><address type='pci' bus='somewhere'/></disk>"
    nameless = "<controller type='pci' index='x'/>"
    assert find_idle_controller(domain_xml(ROOT_PORT.format(4), odd), ["pci:4"])
    assert find_idle_controller(domain_xml(nameless), ["pci:x"])


@pytest.mark.parametrize(
    ("console", "is_obstacle"),
    [
        (CONSOLE.format("virtio", ""), True),
        (CONSOLE.format("virtio", AT_PORT_0), False),
        (CONSOLE.format("serial", ""), False),
        ("", False),
    ],
)
def test_beside_a_console_that_qemu_places_no_controller_is_plugged_in(
    console: str, *, is_obstacle: bool
) -> None:
    """It would be restored from a saved state on the new controller."""
    assert bool(find_plug_obstacle(domain_xml(SERIAL, console))) is is_obstacle
