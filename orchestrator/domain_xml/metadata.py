# SPDX-License-Identifier: Apache-2.0
"""A domain's settings in its metadata: the <policy> element.

Theory of operation: people write this element, with `vmpower domain set`, with `virsh
metadata` or in an editor; so reading it never fails. Invalid parts are ignored and
reported with line and reason; the rest is used. The attributes, what they may say and
the schema follow from the table of `values.domain_settings`.

libvirt keeps one element per namespace.

Source: virDomainSetMetadata of libvirt-domain.h; libvirt's formatdomain, "General
metadata".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lxml import etree

from orchestrator.domain_xml.document import (
    metadata_of,
    parse_document,
    render_document,
)
from orchestrator.domain_xml.settings_schema import build_schema
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.policy.text import parse_policies
from orchestrator.values.domain_settings import (
    DomainSettings,
    Form,
    Setting,
    settings_of,
)
from orchestrator.values.units import format_khz

POLICY_URI = "urn:vmpower:domain:1"
"""Namespace of the element, by which libvirt finds it."""
POLICY_PREFIX = "vmpower"

_TAG = f"{{{POLICY_URI}}}policy"
_LONGEST = 40
"""Characters of an invalid value that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """The settings in a domain's metadata."""

    settings: DomainSettings | None
    """None: no such element, or none of its settings is valid."""
    problems: tuple[str, ...]
    """What was ignored: line, setting, reason; one sentence each."""


def parse_settings(xml: str) -> ReadSettings:
    """Read the settings from a domain's XML.

    Raises:
        DomainXmlError: invalid domain XML; never because of the metadata.
    """
    return read_settings(parse_document(xml))


def read_settings(
    root: etree._Element, cls: type[DomainSettings] = DomainSettings
) -> ReadSettings:
    """Read the settings from a domain's tree.

    Args:
        root: of the domain.
        cls: the table of settings.
    """
    elements = root.findall(f"metadata/{{{POLICY_URI}}}*")
    reader = _Reader(cls)
    for element in elements:
        if element.tag != _TAG:
            reader.complain(element, f"unknown element <{_local(element)}>")
    found = [element for element in elements if element.tag == _TAG]
    for element in found[1:]:
        reader.complain(element, "more than one <policy>; only the first is used")
    settings = reader.read(found[0]) if found else None
    return ReadSettings(
        settings=None if settings is None or settings.is_empty else settings,
        problems=tuple(reader.problems),
    )


def build_settings(settings: DomainSettings) -> str:
    """Build the element as libvirt expects it, separately from its namespace.

    Raises:
        DomainXmlError: contradictory settings.
    """
    if settings.min_khz and settings.max_khz and settings.min_khz > settings.max_khz:
        raise DomainXmlError(
            f"min {format_khz(settings.min_khz)} is above"
            f" max {format_khz(settings.max_khz)}",
            hint="swap them, or drop one",
        )
    try:
        parse_policies(settings.policies or "")
    except ConfigError as error:
        raise DomainXmlError(f"policies: {error}", hint=error.hint) from error
    element = _build(settings)
    validate_settings(etree.tostring(element, encoding="unicode"))
    # libvirt adds the namespace itself, and refuses an element that has one.
    element.tag = "policy"
    etree.cleanup_namespaces(element)
    return etree.tostring(element, encoding="unicode")


def set_settings(xml: str, settings: DomainSettings) -> str:
    """Replace the settings in a domain's XML; empty settings remove the element.

    Raises:
        DomainXmlError: invalid domain XML, or contradictory settings.
    """
    root = parse_document(xml)
    metadata = root.find("metadata")
    if metadata is not None:
        for element in metadata.findall(f"{{{POLICY_URI}}}*"):
            metadata.remove(element)
    if not settings.is_empty:
        build_settings(settings)  # for its checks
        metadata_of(root).append(_build(settings))
    elif metadata is not None and not len(metadata):
        root.remove(metadata)
    return render_document(root)


def validate_settings(text: str) -> None:
    """Validate the element against its schema.

    Raises:
        DomainXmlError: it is invalid; the message has line and reason.
    """
    rules = etree.RelaxNG(etree.fromstring(build_schema().encode()))
    try:
        element = etree.fromstring(text.encode(), etree.XMLParser(load_dtd=False))
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise DomainXmlError(f"<policy> is not well-formed: {error}") from error
    if not rules.validate(element):
        last = rules.error_log.last_error
        why = "" if last is None else f": line {last.line}: {last.message}"
        raise DomainXmlError(f"<policy> does not conform to its schema{why}")


class _Reader:
    """Reads one element and collects its problems."""

    def __init__(self, cls: type[DomainSettings]) -> None:
        self.problems: list[str] = []
        self._cls = cls
        self._table = settings_of(cls)

    def complain(self, element: etree._Element, what: str) -> None:
        self.problems.append(f"metadata, line {element.sourceline}: {what}")

    def read(self, element: etree._Element) -> DomainSettings:
        self._check_content(element)
        settings = self._table.values()
        values = {each.name: self._take(element, each) for each in settings}
        low, high = values["min_khz"], values["max_khz"]
        if low is not None and high is not None and low > high:
            self.complain(element, "min is above max; both are ignored")
            values["min_khz"] = values["max_khz"] = None
        return self._cls(**values)

    def _check_content(self, element: etree._Element) -> None:
        known = {setting.attribute for setting in self._table.values()}
        for name in map(str, element.attrib):
            if name not in known:
                self.complain(element, f"unknown attribute {_quote(name)}")
        texts = [element.text, *(child.tail for child in element)]
        if any(text and text.strip() for text in texts):
            self.complain(element, "text inside <policy> is ignored")
        for child in element.iterchildren(etree.Element):
            if etree.QName(child).namespace in (None, POLICY_URI):
                self.complain(child, f"unknown element <{_local(child)}>")

    def _take(self, element: etree._Element, setting: Setting) -> Any:  # noqa: ANN401 - any type
        word = element.get(setting.attribute)
        if word is None:
            return None
        try:
            value = setting.parse(str(word))
            if setting.form is Form.POLICIES:
                return value if parse_policies(value or "") else None
        except ConfigError as error:
            self.complain(element, f"{setting.attribute}={_quote(str(word))}: {error}")
            return None
        return value


def _build(settings: DomainSettings) -> etree._Element:
    element = etree.Element(_TAG, nsmap={POLICY_PREFIX: POLICY_URI})
    for name, setting in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if value is not None:
            element.set(setting.attribute, setting.format(value))
    return element


def _local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)[:_LONGEST]


def _quote(word: str) -> str:
    # A value can have any length and any characters.
    return repr(word if len(word) <= _LONGEST else f"{word[:_LONGEST]}...")
