# SPDX-License-Identifier: Apache-2.0
"""What OpenStack's Nova notes about an instance."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.parse import parse_domain
from orchestrator.values.domain import NovaInstance

DOMAIN = """<domain type='kvm' id='1'><name>instance-0000001a</name>
<uuid>11111111-1111-4111-8111-111111111111</uuid>
<metadata>{metadata}</metadata></domain>"""
INSTANCE = """<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/{version}">
<nova:package version="29.0.1"/><nova:name>{name}</nova:name>
<nova:owner><nova:user uuid="u">admin</nova:user>
<nova:project uuid="p">telco</nova:project></nova:owner></nova:instance>"""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_instance_has_its_name_and_project(version: str) -> None:
    metadata = INSTANCE.format(version=version, name=" edge-fw ")
    found = parse_domain(DOMAIN.format(metadata=metadata)).nova
    assert found == NovaInstance(name="edge-fw", project="telco")


@pytest.mark.parametrize("metadata", ["", "<x:y xmlns:x='urn:x'/>"])
def test_another_domain_has_none(metadata: str) -> None:
    assert parse_domain(DOMAIN.format(metadata=metadata)).nova is None


def test_what_is_missing_is_empty_and_what_is_odd_is_made_printable() -> None:
    start = '<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">'
    empty = f"{start}</nova:instance>"
    assert parse_domain(DOMAIN.format(metadata=empty)).nova == NovaInstance("", "")
    long = INSTANCE.format(version="1.1", name="a\x85" + 400 * "b")
    found = parse_domain(DOMAIN.format(metadata=long)).nova
    assert found is not None
    assert found.name == "a\N{REPLACEMENT CHARACTER}" + 253 * "b"
