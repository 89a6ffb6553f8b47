# SPDX-License-Identifier: Apache-2.0
"""What is tried with each domain: parsing, onboarding, settings, use as a template.

A domain that the product refuses with a message is no failure. A failure is any other
exception, lost or changed content, and XML that libvirt's schema refuses although it
accepts the original.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
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
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.values.domain import PCpu
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.units import KHz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.domain_xml.parse import ParsedDomain

UUID = "00000000-0000-4000-8000-000000000001"
SETTINGS = DomainSettings(max_khz=KHz(2_000_000), turbo=False)
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


class Failed(Exception):  # noqa: N818 - as pytest calls it
    """A trial failed; the text says how."""


@dataclass(slots=True)
class Report:
    """The results of one domain."""

    passed: list[str] = field(default_factory=list)
    """Names of trials."""
    refused: dict[str, str] = field(default_factory=dict)
    """Names of trials, and the message of the product."""
    failed: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def result_of(self, trial: str) -> Iterator[None]:
        """Record whether a trial passes, is refused or fails."""
        try:
            yield
        except (ConfigError, DomainXmlError) as error:
            self.refused[trial] = str(error)
        except Failed as failure:
            self.failed[trial] = str(failure)
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            self.failed[trial] = f"{type(error).__name__}: {error}"
        else:
            self.passed.append(trial)


class Trials:
    """Tries one domain after the other."""

    def __init__(self, rules: etree.RelaxNG | None) -> None:
        """Use libvirt's schema, if it is installed."""
        self._rules = rules

    def run(self, xml: str, report: Report) -> None:
        """Try one domain.

        Raises:
            DomainXmlError: it is not domain XML.
        """
        xml = _with_uuid(xml)
        is_valid = self._why_invalid(xml) == ""
        for name, trial in self._trials(xml):
            with report.result_of(name):
                result = trial()
                why = self._why_invalid(result) if is_valid else ""
                if why:
                    raise Failed(why)

    def _trials(self, xml: str) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "onboard", partial(onboard, xml)
        yield "set", partial(change_settings, xml)
        for name, spec in SPECS.items():
            yield f"template, {name}", partial(use_as_template, xml, spec)

    def _why_invalid(self, xml: str) -> str:
        if self._rules is None:
            return ""
        try:
            check(xml, self._rules, has_lines=False)
        except DomainXmlError as error:
            return str(error)
        return ""


def onboard(xml: str) -> str:
    """Give a domain all channels, and take them away again.

    Raises:
        Failed: it does not have them, or is not what it was.
    """
    before = parse_domain(xml)
    changed = add_channels(xml, before.vcpus)
    after = parse_domain(changed)
    missing = frozenset(before.vcpus) - after.numbers
    if missing:
        raise Failed(f"no channels {sorted(missing)}")
    _require_same(before, after)
    restored = remove_channels(changed, after.numbers - before.numbers)
    _require_equal(xml, _without_new_controllers(restored, xml))
    return changed


def change_settings(xml: str) -> str:
    """Set limits of a domain, and remove them again.

    Raises:
        Failed: it does not have them, or is not what it was.
    """
    before = parse_settings(xml).settings
    changed = set_settings(xml, SETTINGS)
    if parse_settings(changed).settings != SETTINGS:
        raise Failed("the settings are not in the metadata")
    _require_same(parse_domain(xml), parse_domain(changed))
    if before is None:
        _require_equal(xml, set_settings(changed, DomainSettings()))
    return changed


def use_as_template(xml: str, spec: TemplateSpec) -> str:
    """Build another domain from a domain.

    Raises:
        Failed: it has something of the first one, or lacks what was requested.
    """
    built = build("corpus-new", spec, Template(name="corpus", xml=_marked(xml)))
    for text in (UUID, _SERIAL):
        if text in built:
            raise Failed(f"kept from the template: {text}")
    parsed = parse_domain(_with_uuid(built))
    missing = frozenset(parsed.vcpus) - parsed.numbers
    if missing:
        raise Failed(f"no channels {sorted(missing)}")
    if spec.vcpus is not None and len(parsed.vcpus) != spec.vcpus:
        raise Failed(f"{len(parsed.vcpus)} vCPUs")
    return built


def _require_same(before: ParsedDomain, after: ParsedDomain) -> None:
    if (before.name, before.vcpus) != (after.name, after.vcpus):
        raise Failed("name or vCPUs have changed")


def _require_equal(xml: str, restored: str) -> None:
    if canonical(xml) != canonical(restored):
        raise Failed("not restored exactly")


def canonical(xml: str) -> str:
    """Return XML in a form that is the same for the same content."""
    return str(etree.canonicalize(xml, strip_text=True, with_comments=True))


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
    return render_document(root)


def _marked(xml: str) -> str:
    """Change the serial numbers of disks, so that their remains are found."""
    root = parse_document(xml)
    for serial in root.iterfind("devices/disk/serial"):
        serial.text = _SERIAL
    return render_document(root)
