"""From a few wishes to the whole XML of a domain.

Source: libvirt's formatdomain ("Direct kernel boot", "CPU Tuning", "Channel").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.domain import MAX_CHANNEL_NUMBER
from orchestrator.domain_xml.channel import check_socket_path
from orchestrator.domain_xml.document import parse_document, render_document
from orchestrator.domain_xml.edit import add_channels
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.domain import PCpu

_TEMPLATE = "minimal.xml"
_MAX_NAME_BYTES = 200
"""libvirt names a file after the domain, and a file's name has 255 bytes."""


class DomainKind(StrEnum):
    """Who runs the guest's instructions."""

    KVM = "kvm"
    """The processor: what production wants."""
    QEMU = "qemu"
    """QEMU itself, slowly and everywhere; its vCPUs are pinned like KVM's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSpec:
    """What a domain is to be like."""

    vcpus: int = 1
    """Each gets the channel of its number."""
    memory_mib: int = 256
    kernel: Path | None = None
    """Booted directly; None: the domain has nothing to boot and stays in its BIOS."""
    initrd: Path | None = None
    cmdline: str = ""
    """The kernel's command line; needs a kernel."""
    pins: tuple[PCpu, ...] = ()
    """The host CPU of each vCPU; empty: all float, and none can be controlled."""
    kind: DomainKind = DomainKind.KVM
    socket_dir: Path | None = None
    """Channels get `<socket_dir>/<name>.<number>`, as DPDK's own host wants it; None:
    libvirt chooses, and takes care of owner and labels."""
    console: Path | None = None
    """File that the serial console is written to; None: a pty."""


def build(name: str, spec: TemplateSpec) -> str:
    """Write the XML of a domain.

    Raises:
        ConfigError: the wishes contradict each other or are out of range.
        DomainXmlError: a socket's path would be too long.
    """
    _check(name, spec)
    root = parse_document(files(__package__).joinpath(_TEMPLATE).read_text())
    root.set("type", spec.kind.value)
    _set_text(root, "name", name)
    _set_text(root, "memory", str(spec.memory_mib))
    _set_text(root, "vcpu", str(spec.vcpus))
    _boot(root, spec)
    _pin(root, spec)
    if spec.kind is DomainKind.QEMU:
        # QEMU's default model lacks SSE4, without which DPDK dies of SIGILL.
        _find(root, "cpu").set("mode", "maximum")
    if spec.console is not None:
        serial = _find(root, "devices/serial")
        serial.set("type", "file")
        etree.SubElement(serial, "source", path=str(spec.console))
    return _with_channels(name, spec, root)


def _with_channels(name: str, spec: TemplateSpec, root: etree._Element) -> str:
    # Also adds the controllers that so many channels need.
    root = parse_document(add_channels(render_document(root), range(spec.vcpus)))
    if spec.socket_dir is not None:
        for number, source in enumerate(root.iterfind("devices/channel/source")):
            path = str(spec.socket_dir / f"{name}.{number}")
            check_socket_path(path)
            source.set("path", path)
    etree.indent(root)
    return render_document(root) + "\n"


def _boot(root: etree._Element, spec: TemplateSpec) -> None:
    boot = {
        "kernel": spec.kernel and str(spec.kernel),
        "initrd": spec.initrd and str(spec.initrd),
        "cmdline": spec.cmdline,
    }
    for tag, text in boot.items():
        if text:
            etree.SubElement(_find(root, "os"), tag).text = text


def _pin(root: etree._Element, spec: TemplateSpec) -> None:
    if not spec.pins:
        return
    tuning = etree.Element("cputune")
    for vcpu, pcpu in enumerate(spec.pins):
        etree.SubElement(tuning, "vcpupin", vcpu=str(vcpu), cpuset=str(pcpu))
    _find(root, "vcpu").addnext(tuning)


def _check(name: str, spec: TemplateSpec) -> None:
    if not _is_name(name):
        raise ConfigError(
            f"{name!r} is no name for a domain",
            hint="use printable characters, no '/', at most 200 bytes",
        )
    if not 1 <= spec.vcpus <= MAX_CHANNEL_NUMBER + 1:
        raise ConfigError(
            f"{spec.vcpus} vCPUs: between 1 and {MAX_CHANNEL_NUMBER + 1} are possible"
        )
    if spec.memory_mib < 1:
        raise ConfigError(f"{spec.memory_mib} MiB is no memory")
    if spec.pins and len(spec.pins) != spec.vcpus:
        raise ConfigError(
            f"{len(spec.pins)} CPUs to pin {spec.vcpus} vCPUs to",
            hint="name one CPU for each vCPU",
        )
    _check_texts(spec)


def _check_texts(spec: TemplateSpec) -> None:
    if spec.kernel is None and (spec.initrd is not None or spec.cmdline):
        raise ConfigError("an initrd or a command line needs a kernel")
    if not spec.cmdline.isprintable():
        raise ConfigError("the command line has unprintable characters")
    for path in (spec.kernel, spec.initrd, spec.console, spec.socket_dir):
        if path is not None and not (path.is_absolute() and str(path).isprintable()):
            raise ConfigError(f"{str(path)!r} is no absolute path")


def _is_name(name: str) -> bool:
    is_short = 0 < len(name.encode(errors="replace")) <= _MAX_NAME_BYTES
    return is_short and name.isprintable() and "/" not in name and name.strip() == name


def _set_text(root: etree._Element, tag: str, text: str) -> None:
    _find(root, tag).text = text


def _find(root: etree._Element, path: str) -> etree._Element:
    element = root.find(path)
    if element is None:
        raise LookupError(f"the template has no <{path}>")
    return element
