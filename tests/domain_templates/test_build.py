# SPDX-License-Identifier: Apache-2.0
"""Building domain XML from a template and a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain_templates import DomainKind, TemplateSpec, build, validate
from domain_templates.schema import SCHEMA
from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.values.domain import PCpu
from tests.properties import examples

if TYPE_CHECKING:
    from lxml import etree

needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no libvirt schema")

PATHS = st.none() | st.sampled_from([Path("/boot/vmlinuz"), Path("/a b/<&>'\"")])


def find_all(xml: str, path: str) -> list[etree._Element]:
    return parse_document(xml).findall(path)


def numbers_of(count: int) -> list[str]:
    return [f"virtio.serial.port.poweragent.{number}" for number in range(count)]


@needs_schema
def test_the_template_is_a_complete_domain() -> None:
    template = Path(__file__).parents[2] / "domain_templates" / "minimal.xml"
    assert validate(template.read_text())


@needs_schema
@settings(max_examples=examples(40))
@given(
    name=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])),
    vcpus=st.integers(1, 70),
    kernel=PATHS,
    console=PATHS,
    socket_dir=st.none() | st.just(Path("/tmp/powermonitor")),
    kind=st.sampled_from(DomainKind),
    is_pinned=st.booleans(),
)
def test_any_spec_gives_valid_xml_or_an_error(
    name: str,
    vcpus: int,
    kernel: Path | None,
    console: Path | None,
    socket_dir: Path | None,
    kind: DomainKind,
    *,
    is_pinned: bool,
) -> None:
    spec = TemplateSpec(
        vcpus=vcpus,
        kernel=kernel,
        console=console,
        socket_dir=socket_dir,
        kind=kind,
        cmdline="console=ttyS0 a='<b>&c'" if kernel else "",
        pins=tuple(PCpu(cpu) for cpu in range(vcpus)) if is_pinned else (),
    )
    try:
        xml = build(name, spec)
    except (ConfigError, DomainXmlError):
        return
    assert validate(xml)
    targets = find_all(xml, "devices/channel/target")
    assert [target.get("name") for target in targets] == numbers_of(vcpus)
    assert parse_document(xml).findtext("name") == name


def test_each_vcpu_has_a_channel_with_a_path_chosen_by_libvirt() -> None:
    xml = build("router", TemplateSpec(vcpus=3))
    assert [dict(item.attrib) for item in find_all(xml, "devices/channel/source")] == [
        {"mode": "bind"}
    ] * 3


def test_a_socket_directory_gives_the_paths_that_dpdk_uses() -> None:
    xml = build("r", TemplateSpec(vcpus=2, socket_dir=Path("/tmp/powermonitor")))
    sources = find_all(xml, "devices/channel/source")
    assert [source.get("path") for source in sources] == [
        "/tmp/powermonitor/r.0",
        "/tmp/powermonitor/r.1",
    ]


def test_each_vcpu_is_pinned_to_its_cpu() -> None:
    xml = build("r", TemplateSpec(vcpus=2, pins=(PCpu(5), PCpu(3))))
    assert [dict(pin.attrib) for pin in find_all(xml, "cputune/vcpupin")] == [
        {"vcpu": "0", "cpuset": "5"},
        {"vcpu": "1", "cpuset": "3"},
    ]


def test_an_emulated_domain_has_the_maximum_cpu_model() -> None:
    xml = build("r", TemplateSpec(kind=DomainKind.QEMU))
    assert parse_document(xml).get("type") == "qemu"
    assert [cpu.get("mode") for cpu in find_all(xml, "cpu")] == ["maximum"]


def test_thirty_channels_fit_into_one_controller_and_more_get_another() -> None:
    path = "devices/controller[@type='virtio-serial']"
    assert len(find_all(build("r", TemplateSpec(vcpus=30)), path)) == 1
    assert len(find_all(build("r", TemplateSpec(vcpus=31)), path)) == 2


@pytest.mark.parametrize(
    "spec",
    [
        TemplateSpec(vcpus=0),
        TemplateSpec(vcpus=1281),
        TemplateSpec(memory_mib=0),
        TemplateSpec(vcpus=2, pins=(PCpu(1),)),
        TemplateSpec(initrd=Path("/i")),
        TemplateSpec(cmdline="quiet"),
        TemplateSpec(kernel=Path("/k"), cmdline="a\nb"),
        TemplateSpec(kernel=Path("relative")),
        TemplateSpec(socket_dir=Path("relative")),
    ],
)
def test_impossible_specs_are_refused(spec: TemplateSpec) -> None:
    with pytest.raises(ConfigError):
        build("r", spec)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", " a", "n" * 201, "\ud800"])
def test_a_name_that_libvirt_rejects_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="invalid domain name"):
        build(name, TemplateSpec())


def test_a_socket_directory_with_too_long_paths_is_refused() -> None:
    with pytest.raises(DomainXmlError, match="the limit is 107"):
        build("r", TemplateSpec(socket_dir=Path("/" + "x" * 120)))
