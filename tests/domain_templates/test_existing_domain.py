# SPDX-License-Identifier: Apache-2.0
"""The XML of an existing domain as a template: nothing of that domain is left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from domain_templates import (
    DomainKind,
    Template,
    TemplateSpec,
    build,
    name_inherited,
    validate,
)
from domain_templates.catalog import check_template
from domain_templates.schema import SCHEMA
from domain_templates.spec import Link, Network
from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError
from orchestrator.values.domain import PCpu
from tests.domain_templates.existing import (
    DESCRIPTION,
    EXISTING,
    FOREIGN_DISKS,
    LEFTOVERS,
    with_devices,
)

if TYPE_CHECKING:
    from tests.rig.embed import EmbedHost

IMAGE = Path("/var/lib/libvirt/images/new.qcow2")
needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no libvirt schema")


def template_of(xml: str) -> Template:
    return Template(name="existing", xml=xml)


def built_from(xml: str, **options: object) -> str:
    spec = TemplateSpec(**options)  # type: ignore[arg-type]
    return build("new", spec, template_of(xml))


@needs_schema
def test_the_existing_domain_is_valid() -> None:
    assert validate(EXISTING)


@pytest.mark.parametrize("text", LEFTOVERS)
def test_nothing_that_belongs_to_the_existing_domain_is_left(text: str) -> None:
    assert text in EXISTING
    assert text not in built_from(EXISTING, disk=IMAGE)


@needs_schema
def test_a_domain_from_an_existing_one_is_valid() -> None:
    assert validate(built_from(EXISTING))
    assert validate(built_from(EXISTING, vcpus=1, disk=IMAGE, networks=()))


@pytest.mark.parametrize(
    "path",
    [
        "sysinfo/system/entry[@name='manufacturer']",
        "os/smbios[@mode='sysinfo']",
        "os/nvram[@template='/usr/share/OVMF/OVMF_VARS.fd']",
        "devices/channel/target[@name='org.qemu.guest_agent.0']",
        "devices/channel[@type='null']",
        "devices/serial[@type='pty']/target[@port='0']",
        "devices/serial/source[@mode='connect']",
        "devices/interface/source[@network='lan']",
        "devices/interface/virtualport[@type='openvswitch']",
        "devices/graphics[@autoport='yes']",
        "devices/vsock/cid[@auto='yes']",
        "cputune/shares",
        "cputune/vcpusched[@vcpus='0-3']",
    ],
)
def test_what_any_domain_may_have_is_kept(path: str) -> None:
    assert parse_document(built_from(EXISTING)).find(path) is not None


def test_a_described_template_keeps_its_placement_and_paths() -> None:
    built = built_from(EXISTING.replace("<metadata>", f"<metadata>{DESCRIPTION}"))
    root = parse_document(built)
    for path in (
        "cputune/vcpupin[@vcpu='3']",
        "numatune/memory[@nodeset='1']",
        "devices/interface/target[@dev='old-tap0']",
        "devices/graphics[@port='5911']",
    ):
        assert root.find(path) is not None
    for path in ("uuid", "sysinfo/system/entry[@name='uuid']", "devices/disk/serial"):
        assert root.find(path) is None
    assert "old_VARS.fd" not in built


def test_the_memory_follows_the_new_pinning() -> None:
    options = {"pins": tuple(map(PCpu, range(4))), "numa_node": 0}
    root = parse_document(built_from(EXISTING, **options))
    assert root.find("numatune/memory[@nodeset='0'][@mode='strict']") is not None
    assert root.find("numatune/memnode") is None


def test_fewer_vcpus_leave_no_tuning_for_the_others() -> None:
    root = parse_document(built_from(EXISTING, vcpus=2))
    assert [it.get("vcpus") for it in root.iterfind("cputune/vcpusched")] == ["0-1"]
    assert root.find("cputune/cachetune") is None  # vCPUs 2-3


@needs_schema
@pytest.mark.parametrize("disk", FOREIGN_DISKS.values(), ids=FOREIGN_DISKS)
def test_any_disk_is_replaced_by_an_image(disk: str) -> None:
    xml = with_devices(disk)
    assert validate(xml)
    built = built_from(xml, disk=IMAGE)
    assert validate(built)
    (found,) = parse_document(built).findall("devices/disk")
    source = found.find("source")
    assert source is not None
    assert (source.keys(), source.get("file")) == (["file"], str(IMAGE))
    assert len(source) == 0
    assert [str(it.tag) for it in found if it.tag not in ("address", "boot")] == [
        "driver",
        "source",
        "target",
    ]
    assert found.get("type") == "file"
    assert found.get("device", "disk") == "disk"


def test_a_new_disk_and_a_cd_drive_get_free_names() -> None:
    devices = (
        "<disk type='file' device='floppy'><target dev='vda' bus='fdc'/></disk>"
        "<disk type='file' device='floppy'><target dev='sda' bus='fdc'/></disk>"
    )
    built = built_from(with_devices(devices), disk=IMAGE, cloud_init=Path("/seed.iso"))
    targets = parse_document(built).findall("devices/disk/target")
    assert [it.get("dev") for it in targets] == ["vda", "sda", "vdb", "sdb"]


def test_a_machine_without_sata_gets_a_scsi_cd_drive() -> None:
    xml = with_devices("").replace("x86_64", "aarch64").replace("q35", "virt")
    built = parse_document(built_from(xml, cloud_init=Path("/seed.iso")))
    assert built.find("devices/disk/target[@dev='sda'][@bus='scsi']") is not None


@needs_schema
def test_a_console_of_any_type_is_replaced_by_a_file() -> None:
    serial = (
        "<serial type='tcp'><source mode='connect' host='log' service='514'/>"
        "<protocol type='telnet'/><log file='/var/log/old.log'/>"
        "<target port='0'/></serial>"
    )
    built = built_from(with_devices(serial), console=Path("/var/log/new.log"))
    assert validate(built)
    (found,) = parse_document(built).findall("devices/serial")
    assert [str(it.tag) for it in found] == ["source", "target"]
    assert found.find("source[@path='/var/log/new.log']") is not None


def test_what_two_running_domains_cannot_share_is_named() -> None:
    devices = (
        "<disk type='network'><source protocol='rbd' name='pool/old'/>"
        "<target dev='vda'/></disk>"
        "<disk type='file' device='cdrom'><source file='/a.iso'/>"
        "<target dev='sda'/></disk>"
        "<disk type='file'><source file='/shared.img'/><target dev='vdb'/>"
        "<shareable/></disk>"
        "<interface type='vhostuser'>"
        "<source type='unix' path='/run/vhu0' mode='server'/></interface>"
        "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000'"
        " bus='0x3b' slot='0x02' function='0x1'/></source></hostdev>"
    )
    template = template_of(with_devices(devices))
    network = (Network(Link.USER),)
    assert name_inherited(build("new", TemplateSpec(), template), template) == (
        "disk vda (pool/old)",
        "vhost-user socket /run/vhu0",
        "host device 0x0000:0x3b:0x02:0x1",
    )
    replaced = build("new", TemplateSpec(disk=IMAGE, networks=network), template)
    assert name_inherited(replaced, template) == ("host device 0x0000:0x3b:0x02:0x1",)


def test_a_container_is_no_template() -> None:
    xml = with_devices("").replace(">hvm<", ">exe<")
    with pytest.raises(ConfigError, match="<type>exe</type> in <os>: expected hvm"):
        built_from(xml)


@needs_schema
def test_a_node_replaces_an_automatic_placement() -> None:
    tuning = "<numatune><memory mode='preferred' placement='auto'/></numatune><os>"
    built = built_from(with_devices("").replace("<os>", tuning), numa_node=0)
    assert validate(built)
    assert "placement='auto'" not in built.replace('"', "'")


@needs_schema
def test_a_port_that_cannot_be_generated_is_kept_and_named() -> None:
    interface = (
        "<interface type='bridge'><source bridge='br0'/><virtualport type='midonet'>"
        "<parameters interfaceid='7bd1f3a2-1111-4222-8333-000000000003'/>"
        "</virtualport></interface>"
    )
    template = template_of(with_devices(interface))
    built = build("new", TemplateSpec(), template)
    assert validate(built)
    assert name_inherited(built, template) == (
        "MidoNet port 7bd1f3a2-1111-4222-8333-000000000003",
    )


@needs_schema
@pytest.mark.parametrize("vcpus", [None, 3])
def test_a_domain_without_a_number_of_vcpus_has_one(vcpus: int | None) -> None:
    xml = with_devices("").replace("<vcpu>1</vcpu>", "")
    assert check_template(template_of(xml)) == ()
    built = built_from(xml, vcpus=vcpus)
    assert validate(built)
    assert parse_document(built).findtext("vcpu") == str(vcpus or 1)


@pytest.mark.rig
def test_libvirt_gives_the_new_domain_an_identity_of_its_own(
    embed_host: EmbedHost,
) -> None:
    # Two vCPUs: the cache of the others is KVM's.
    spec = TemplateSpec(kind=DomainKind.QEMU, vcpus=2, disk=IMAGE, networks=())
    xml = build("new-identity", spec, template_of(EXISTING))
    domain = embed_host.connection.defineXML(xml)
    try:
        root = parse_document(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    finally:
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
    old = parse_document(EXISTING)
    assert root.findtext("uuid") != old.findtext("uuid")
    assert root.findtext("genid") != old.findtext("genid")
    assert "old_VARS" not in (root.findtext("os/nvram") or "")
    assert root.find("devices/disk/backingStore") is None
