# SPDX-License-Identifier: Apache-2.0
"""What is tried with each domain: parsing, onboarding, settings, use as a template.

A domain that the product refuses with a message is no failure. A failure is any other
exception, lost or changed content, and XML that libvirt's schema, or libvirtd, refuses
although it accepts the original.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import etree

from domain_templates import DomainKind, Template, TemplateSpec, build
from domain_templates.schema import check
from domain_templates.spec import Link, Network
from orchestrator.domain_xml.document import parse_document, render_document
from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.domain_xml.metadata import parse_settings, set_settings
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain import PCpu
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.units import KHz
from scripts.corpus.report import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.domain_xml.parse import ParsedDomain
    from scripts.corpus.report import Report

UUID = "00000000-0000-4000-8000-000000000001"
SETTINGS = DomainSettings(
    max_khz=KHz(2_000_000), turbo=False, policies="workload medium"
)
SPECS = {
    "as it is": TemplateSpec(),
    "sized and pinned": TemplateSpec(
        vcpus=2, memory_mib=512, pins=(PCpu(0), PCpu(1)), numa_node=0
    ),
    "new devices": TemplateSpec(
        disk=Path("/images/corpus.qcow2"),
        cloud_init=Path("/images/corpus.iso"),
        networks=(Network(Link.BRIDGE, "br0"),),
        console=Path("/var/log/corpus.log"),
    ),
    "kernel and sockets": TemplateSpec(
        kind=DomainKind.QEMU,
        kernel=Path("/boot/corpus"),
        cmdline="quiet",
        socket_dir=Path("/run/corpus"),
    ),
}
_SERIAL = "serial-of-another-domain"
_SHOWN_LINES = 4
"""Of the difference between what was and what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The functions that are tried."""

    add_channels: Callable[..., str] = add_channels
    remove_channels: Callable[..., str] = remove_channels
    set_settings: Callable[..., str] = set_settings
    build: Callable[..., str] = build


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """XML for further trials."""

    original: str
    """With a UUID."""
    changed: Mapping[str, str]
    """By the name of the trial that passed."""


class Trials:
    """Tries one domain after the other."""

    def __init__(
        self, rules: etree.RelaxNG | None, product: Product | None = None
    ) -> None:
        """Use libvirt's schema, if it is installed."""
        self._rules = rules
        self._product = product or Product()

    def run(self, xml: str, report: Report) -> Results:
        """Try one domain.

        Raises:
            DomainXmlError: it is not domain XML.
        """
        xml = _with_uuid(xml)
        is_valid = self._why_invalid(xml) == ""
        results: dict[str, str] = {}
        for name, trial in self._trials(xml):
            with report.result_of(name):
                result = trial()
                why = self._why_invalid(result) if is_valid else ""
                if why:
                    raise Failed(why)
                results[name] = result
        return Results(original=xml, changed=results)

    def _trials(self, xml: str) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "onboard", partial(self._onboard, xml)
        yield "set", partial(self._change_settings, xml)
        for name, spec in SPECS.items():
            yield f"template, {name}", partial(self._use_as_template, xml, spec)

    def _why_invalid(self, xml: str) -> str:
        if self._rules is None:
            return ""
        try:
            check(xml, self._rules, has_lines=False)
        except DomainXmlError as error:
            return str(error)
        return ""

    def _onboard(self, xml: str) -> str:
        """Give a domain all channels, and take them away again.

        Raises:
            Failed: it does not have them, or is not what it was.
        """
        before = parse_domain(xml)
        changed = self._product.add_channels(xml, before.vcpus)
        after = parse_domain(changed)
        require_channels(after)
        _require_same(before, after)
        new = after.numbers - before.numbers
        restored = self._product.remove_channels(changed, new)
        require_equal(xml, _without_new_controllers(restored, xml))
        return changed

    def _change_settings(self, xml: str) -> str:
        """Set limits and a policy of a domain, and remove them again.

        Raises:
            Failed: it does not have them, or is not what it was.
        """
        before = parse_settings(xml).settings
        changed = self._product.set_settings(xml, SETTINGS)
        if parse_settings(changed).settings != SETTINGS:
            raise Failed("the settings are not in the metadata")
        _require_same(parse_domain(xml), parse_domain(changed))
        if before is None:
            require_equal(xml, self._product.set_settings(changed, DomainSettings()))
        return changed

    def _use_as_template(self, xml: str, spec: TemplateSpec) -> str:
        """Build another domain from a domain.

        Raises:
            Failed: it has something of the first one, or lacks what was requested.
        """
        template = Template(name="corpus", xml=_marked(xml))
        built = self._product.build("corpus-new", spec, template)
        for text in (UUID, _SERIAL):
            if text in built:
                raise Failed(f"kept from the template: {text}")
        parsed = parse_domain(_with_uuid(built))
        require_channels(parsed)
        if spec.vcpus is not None and len(parsed.vcpus) != spec.vcpus:
            raise Failed(f"{len(parsed.vcpus)} vCPUs")
        return built


def require_channels(domain: ParsedDomain) -> None:
    """Require a channel for each vCPU.

    Raises:
        Failed: one is missing.
    """
    missing = frozenset(domain.vcpus) - domain.numbers
    if missing:
        raise Failed(f"no channels {sorted(missing)}")


def _require_same(before: ParsedDomain, after: ParsedDomain) -> None:
    if (before.name, before.vcpus) != (after.name, after.vcpus):
        raise Failed("name or vCPUs have changed")


def require_equal(xml: str, restored: str) -> None:
    """Require the same content.

    Raises:
        Failed: it differs; names the first lines that do.
    """
    old, new = (_canonical_lines(it) for it in (xml, restored))
    if old != new:
        changes = (it for it in difflib.unified_diff(old, new, n=0, lineterm=""))
        lines = [it for it in changes if not it.startswith(("---", "+++", "@@"))]
        raise Failed(f"not restored exactly: {' '.join(lines[:_SHOWN_LINES])}")


def _canonical_lines(xml: str) -> list[str]:
    """Return XML in a form that is the same for the same content, tag by tag."""
    text = str(etree.canonicalize(xml, strip_text=True, with_comments=True))
    return text.replace("><", ">\n<").splitlines()


def _without_new_controllers(restored: str, xml: str) -> str:
    """Remove controllers that onboarding added, which libvirt's side does."""
    path = "devices/controller[@type='virtio-serial']"
    old = len(parse_document(xml).findall(path))
    root = parse_document(restored)
    for controller in root.findall(path)[old:]:
        parent = controller.getparent()
        if parent is not None:
            parent.remove(controller)
    devices = root.find("devices")
    if parse_document(xml).find("devices") is None and devices is not None:
        root.remove(devices)
    return render_document(root)


def _with_uuid(xml: str) -> str:
    root = parse_document(xml)
    for old in root.findall("uuid"):
        root.remove(old)
    uuid = etree.Element("uuid")
    uuid.text = UUID
    name = root.find("name")
    if name is None:
        root.insert(0, uuid)
    else:
        name.addnext(uuid)
    for entry in root.iterfind("sysinfo/system/entry[@name='uuid']"):
        entry.text = UUID  # libvirt requires the same
    return render_document(root)


def _marked(xml: str) -> str:
    """Change the serial numbers of disks, so that their remains are found."""
    root = parse_document(xml)
    for serial in root.iterfind("devices/disk/serial"):
        serial.text = _SERIAL
    return render_document(root)
