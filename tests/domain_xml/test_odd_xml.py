# SPDX-License-Identifier: Apache-2.0
"""Domain XML that libvirt would not write, and people do."""

from __future__ import annotations

import pytest
from lxml import etree

from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.domain_xml.interfaces import read_interfaces
from orchestrator.domain_xml.metadata import (
    parse_settings,
    set_settings,
    validate_settings,
)
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain_settings import DomainSettings
from tests.domain_xml.domains import domain_xml


def test_a_policy_that_is_not_well_formed_is_refused() -> None:
    with pytest.raises(DomainXmlError, match="not well-formed"):
        validate_settings("<policy max='2GHz'")


@pytest.mark.parametrize("inside", ["", "<vcpu>1</vcpu>"])
def test_a_domain_without_a_name_gets_its_settings_first(inside: str) -> None:
    xml = set_settings(f"<domain>{inside}</domain>", DomainSettings(turbo=False))
    assert next(child.tag for child in parse_document(xml)) == "metadata"
    assert parse_settings(xml).settings == DomainSettings(turbo=False)


def test_elements_of_others_inside_a_policy_are_no_problem() -> None:
    text = "<p:policy xmlns:p='urn:vmpower:domain:1' turbo='no'><o:x xmlns:o='u'/>"
    xml = f"<domain><metadata>{text}</p:policy></metadata></domain>"
    assert parse_settings(xml).problems == ()


def test_the_only_device_is_removed_without_a_trace() -> None:
    before = "<domain>\n  <devices>\n  </devices>\n</domain>\n"
    after = remove_channels(add_channels(before, []), [0])
    assert etree.canonicalize(after) == etree.canonicalize(before)
    devices = "<domain><devices>{}</devices></domain>"
    channel = "<channel type='unix'><target type='virtio' name='{}'/></channel>"
    filled = devices.format(channel.format("virtio.serial.port.poweragent.0"))
    assert etree.canonicalize(remove_channels(filled, [0])) == etree.canonicalize(
        devices.format("")
    )


def test_a_virtual_function_without_an_address_is_not_found() -> None:
    interface = "<interface type='hostdev'><mac address='52:54:00:00:00:01'/>{}{}"
    odd = "<source><address type='pci' bus='first'/></source>"
    for source in ("", odd):
        xml = domain_xml(interface.format(source, "</interface>"))
        (found,) = read_interfaces(parse_document(xml))
        assert found.pci is None
