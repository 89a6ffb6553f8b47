# SPDX-License-Identifier: Apache-2.0
"""Built domains, checked with golden files, libvirt's schema and a real libvirt.

`UPDATE_GOLDEN=1 pytest tests/domain_templates` rewrites the files; review the
differences before you commit them.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from domain_templates import (
    DomainKind,
    TemplateSpec,
    build,
    list_templates,
    load_template,
    parse_network,
    validate,
)
from domain_templates.catalog import Template, check_template
from domain_templates.parameters import read_parameters
from domain_templates.schema import SCHEMA
from domain_templates.spec import Link, Network
from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.values.domain import PCpu
from tests.domain_templates.cases import (
    CASES,
    IMAGE,
    NO_DIRECTORY,
    SETTINGS,
    build_case,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from tests.rig.embed import EmbedHost

GOLDEN = Path(__file__).parent / "golden"
needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no libvirt schema")


@pytest.mark.parametrize("case", CASES)
def test_each_template_and_option_matches_its_golden_file(case: str) -> None:
    path = GOLDEN / f"{case}.xml"
    built = build_case(case)
    if "UPDATE_GOLDEN" in os.environ:
        path.write_text(built)
    assert built == path.read_text()


def test_each_option_and_parameter_has_a_golden_file() -> None:
    nothing = TemplateSpec()
    options = {item.name for item in fields(TemplateSpec)}
    shown = {
        name
        for _, spec in CASES.values()
        for name in options
        if getattr(spec, name) != getattr(nothing, name)
    }
    assert shown == options
    for name in ("minimal", "nfv", "cloud", "linux"):
        parameters = read_parameters(
            parse_document(load_template(name, NO_DIRECTORY).xml)
        )
        # A parameter that an option sets is not set by name.
        named = {item.name for item in parameters if item.option != "disk"}
        used = {
            key for it, spec in CASES.values() if it == name for key in spec.parameters
        }
        assert used == named


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@needs_schema
@pytest.mark.parametrize("case", CASES)
def test_each_domain_is_valid_by_libvirts_schema(case: str) -> None:
    assert validate(build_case(case))


@needs_schema
@pytest.mark.parametrize("name", ["minimal", "nfv", "cloud", "linux"])
def test_each_template_is_a_complete_domain(name: str) -> None:
    template = load_template(name, NO_DIRECTORY)
    assert validate(template.xml)
    assert check_template(template) == ()
    assert template.summary
    assert all(item.summary for item in template.parameters)


@pytest.mark.rig
@pytest.mark.parametrize("case", CASES)
def test_libvirt_defines_each_domain(case: str, embed_host: EmbedHost) -> None:
    template, spec = CASES[case]
    connection = embed_host.connection
    # Without KVM no KVM domain can be defined: use QEMU's emulation.
    xml = build_case(case).replace('<domain type="kvm">', '<domain type="qemu">')
    xml = xml.replace('<cpu mode="host-passthrough"', '<cpu mode="maximum"')
    domain = connection.defineXML(xml)
    try:
        parsed = parse_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    finally:
        domain.undefine()
    given = parse_document(build_case(case))
    assert len(parsed.vcpus) == int(given.findtext("vcpu") or 0)
    wanted = set(parsed.vcpus) if spec.channels is None else spec.channels
    assert {channel.number for channel in parsed.channels} == wanted, template
    assert parsed.settings == (None if spec.settings.is_empty else spec.settings)
    assert parsed.problems == ()


@pytest.mark.rig
def test_a_dpdk_guest_starts_with_its_pinning(embed_host: EmbedHost) -> None:
    """Without huge pages, a virtual switch and KVM, which this machine may not have."""
    spec = TemplateSpec(
        vcpus=2,
        memory_mib=64,
        kind=DomainKind.QEMU,
        pins=(PCpu(1), PCpu(0)),
        emulator_pins=frozenset({PCpu(0)}),
        numa_node=0,
        networks=(Network(Link.USER),),
        settings=SETTINGS,
        parameters={"hugepage-mib": "none"},
    )
    xml = build("nfv", spec, load_template("nfv", NO_DIRECTORY))
    domain = embed_host.connection.defineXML(xml)
    try:
        domain.create()
        pins = [[i for i, on in enumerate(m) if on] for m in domain.vcpuPinInfo()]
        live = parse_domain(domain.XMLDesc())
    finally:
        _remove(domain)
    assert pins == [[1], [0]]
    assert all(channel.path for channel in live.channels)
    assert live.settings == SETTINGS


BOOT_SECTOR = (
    # cli; mov dx, 3f8h; mov si, 7c10h; l: lodsb; test al, al; jz e; out dx, al; jmp l
    bytes.fromhex("fabaf803be107cac84c07403eeebf8f4") + b"booted from disk\r\n\0"
)
"""A boot sector that prints the text after the code on the first serial port."""


@pytest.mark.rig
def test_a_cloud_guest_boots_its_disk(embed_host: EmbedHost) -> None:
    """From a disk with a boot sector only: BIOS, disk and console work."""
    image = embed_host.guests / "cloud.img"
    image.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    if os.geteuid() == 0:
        shutil.chown(image, "libvirt-qemu")
    console = embed_host.guests / "cloud.log"
    spec = TemplateSpec(
        vcpus=1,
        memory_mib=64,
        kind=DomainKind.QEMU,
        disk=image,
        networks=(Network(Link.USER),),
        console=console,
        parameters={"cache": "writeback"},
    )
    domain = embed_host.connection.defineXML(
        build("cloud", spec, load_template("cloud", NO_DIRECTORY))
    )
    try:
        domain.create()
        wait_for(
            lambda: console.exists() and b"booted from disk" in console.read_bytes(),
            "the guest has booted its disk",
            timeout_s=30,
        )
    finally:
        _remove(domain)


def _remove(domain: libvirt.virDomain) -> None:
    if domain.isActive():
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
    domain.undefine()


def test_unknown_elements_of_a_template_are_kept() -> None:
    own = load_template("minimal", NO_DIRECTORY).xml.replace(
        "<memballoon model='none'/>",
        "<memballoon model='none'/><tpm model='tpm-crb'>"
        "<backend type='emulator' version='2.0'/></tpm>",
    )
    built = parse_document(build("r", TemplateSpec(), Template(name="own", xml=own)))
    assert built.find("devices/tpm/backend[@version='2.0']") is not None


def test_the_xml_of_a_domain_is_a_template_without_its_identity() -> None:
    path = Path(__file__).parents[1] / "data" / "domains" / "live.xml"
    other = Template(name="live", xml=path.read_text())
    built = parse_document(build("copy", TemplateSpec(vcpus=1), other))
    assert built.get("id") is None
    assert built.find("uuid") is None
    assert built.findtext("name") == "copy"
    paths = [source.get("path") for source in built.iterfind("devices/channel/source")]
    targets = built.findall("devices/channel/target")
    ours = [it for it in targets if "poweragent" in str(it.get("name"))]
    assert [str(it.get("name"))[-2:] for it in ours] == [".0"]
    assert None in paths


@pytest.mark.parametrize(
    ("template", "spec", "message"),
    [
        ("cloud", TemplateSpec(), "requires 'disk'"),
        ("nfv", TemplateSpec(), "requires 'vhost-user'"),
        ("cloud", TemplateSpec(disk=IMAGE, parameters={"busx": "sata"}), "mean 'bus'"),
        ("minimal", TemplateSpec(parameters={"x": "y"}), "; available: machine"),
        ("minimal", TemplateSpec(parameters={"machine": "a\nb"}), "unprintable"),
        (
            "nfv",
            TemplateSpec(networks=(), parameters={"queues": "2"}),
            "its element was removed",
        ),
        (
            "cloud",
            TemplateSpec(disk=Path("relative.qcow2")),
            "expected a printable absolute path",
        ),
    ],
)
def test_specs_that_do_not_fit_the_template_are_refused(
    template: str, spec: TemplateSpec, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build("r", spec, load_template(template, NO_DIRECTORY))


def test_local_templates_come_before_the_packaged_ones(tmp_path: Path) -> None:
    minimal = load_template("minimal", NO_DIRECTORY).xml
    (tmp_path / "nfv.xml").write_text(minimal)
    (tmp_path / "own.xml").write_text(minimal.replace("q35", "pc"))
    (tmp_path / ".hidden.xml").write_text("no template")
    assert load_template("nfv", tmp_path).xml == minimal
    names = [template.name for template in list_templates(tmp_path)]
    assert names == ["minimal", "nfv", "cloud", "linux", "own"]
    own = build("r", TemplateSpec(), load_template("own", tmp_path))
    assert parse_document(own).find("os/type[@machine='pc']") is not None


def test_a_missing_template_is_an_error_that_lists_the_templates(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="mean 'cloud'") as caught:
        load_template("clod", tmp_path)
    assert "minimal, nfv" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot read"):
        load_template(f"{tmp_path}/none.xml")
    (tmp_path / "bad.xml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_template("bad", tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (("</domain>", ""), "not well-formed"),
        (("<memory ", "<memori "), "not well-formed"),
        (("os/type/@machine", "os/typ/@machine"), "no such place"),
        (("os/type/@machine", "os/[/@machine"), "invalid path"),
        (("name='machine' ", ""), "'name' and 'place' are required"),
        (("<name>minimal</name>", ""), "no <name> element"),
        (("<domain type='kvm'>", "<!DOCTYPE domain><domain type='kvm'>"), "document"),
    ],
)
def test_problems_of_a_template_are_reported(
    damage: tuple[str, str], message: str
) -> None:
    xml = load_template("minimal", NO_DIRECTORY).xml.replace(*damage)
    template = Template(name="own", xml=xml)
    assert any(message in problem for problem in check_template(template))
    with pytest.raises(DomainXmlError):
        build("r", TemplateSpec(), template)


def test_two_cells_cannot_be_resized_by_one_number() -> None:
    nfv = load_template("nfv", NO_DIRECTORY).xml
    cell = "<cell id='0' cpus='0-3' memory='4096' unit='MiB' memAccess='shared'/>"
    assert cell in nfv
    two = Template(name="two", xml=nfv.replace(cell, cell + cell.replace("'0'", "'1'")))
    assert "<cell" in build("r", TemplateSpec(networks=()), two)
    with pytest.raises(ConfigError, match="2 NUMA cells"):
        build("r", TemplateSpec(networks=(), vcpus=2), two)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("default", Network(Link.NETWORK, "default")),
        ("network:lan", Network(Link.NETWORK, "lan")),
        ("bridge:br0", Network(Link.BRIDGE, "br0")),
        ("vhostuser:/run/x", Network(Link.VHOST_USER, "/run/x")),
        ("hostdev:3b:02.1", Network(Link.HOSTDEV, "3b:02.1")),
        ("user", Network(Link.USER)),
    ],
)
def test_networks_are_parsed(text: str, network: Network) -> None:
    assert parse_network(text) == network


@pytest.mark.parametrize(
    "text", ["", "bridge:", "hostdev:3b", "vhostuser:x", "tap:0", "a\nb"]
)
def test_an_invalid_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_network(text)
