"""A domain's settings in its metadata: the <policy> element.

Theory of operation: people write this element, with `vmpower domain set`, with `virsh
metadata` or in an editor; so reading it never fails. Invalid parts are ignored and
reported with line and reason; the rest is used. `policy.rng` beside this module is the
same in a form for editors, and for checks before writing.

libvirt keeps one element per namespace.

Source: virDomainSetMetadata of libvirt-domain.h; libvirt's formatdomain, "General
metadata".
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

from lxml import etree

from orchestrator.domain_xml.document import parse_document, render_document
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.policy.text import parse_policies
from orchestrator.values.domain_settings import GENERATIONS, DomainPolicy, Mode
from orchestrator.values.units import (
    FREQUENCY_FORMATS,
    KHz,
    format_khz,
    parse_khz,
)

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY_URI = "urn:vmpower:domain:1"
"""Namespace of the element, by which libvirt finds it."""
POLICY_PREFIX = "vmpower"
SCHEMA = "policy.rng"

_Value = TypeVar("_Value")
_TAG = f"{{{POLICY_URI}}}policy"
_ATTRIBUTES = (
    *("min", "max", "turbo", "mode"),
    *("queries", "guest-policies", "generation", "onboard"),
    "policies",
)
_LONGEST = 40
"""Characters of an invalid value that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPolicy:
    """The settings in a domain's metadata."""

    policy: DomainPolicy | None
    """None: no such element, or none of its settings is valid."""
    problems: tuple[str, ...]
    """What was ignored: line, setting, reason; one sentence each."""


def parse_policy(xml: str) -> ReadPolicy:
    """Read the settings from a domain's XML.

    Raises:
        DomainXmlError: invalid domain XML; never because of the metadata.
    """
    return read_policy(parse_document(xml))


def read_policy(root: etree._Element) -> ReadPolicy:
    """Read the settings from a domain's tree."""
    elements = root.findall(f"metadata/{{{POLICY_URI}}}*")
    reader = _Reader()
    for element in elements:
        if element.tag != _TAG:
            reader.complain(element, f"unknown element <{_local(element)}>")
    policies = [element for element in elements if element.tag == _TAG]
    for element in policies[1:]:
        reader.complain(element, "more than one <policy>; only the first is used")
    policy = reader.read(policies[0]) if policies else None
    return ReadPolicy(
        policy=None if policy is None or policy.is_empty else policy,
        problems=tuple(reader.problems),
    )


def build_policy(policy: DomainPolicy) -> str:
    """Build the element as libvirt expects it, separately from its namespace.

    Raises:
        DomainXmlError: contradictory settings.
    """
    if policy.min_khz and policy.max_khz and policy.min_khz > policy.max_khz:
        raise DomainXmlError(
            f"min {format_khz(policy.min_khz)} is above"
            f" max {format_khz(policy.max_khz)}",
            hint="swap them, or drop one",
        )
    try:
        parse_policies(policy.policies or "")
    except ConfigError as error:
        raise DomainXmlError(f"policies: {error}", hint=error.hint) from error
    element = _build(policy)
    validate_policy(etree.tostring(element, encoding="unicode"))
    # libvirt adds the namespace itself, and refuses an element that has one.
    element.tag = "policy"
    etree.cleanup_namespaces(element)
    return etree.tostring(element, encoding="unicode")


def set_policy(xml: str, policy: DomainPolicy) -> str:
    """Replace the settings in a domain's XML; empty settings remove the element.

    Raises:
        DomainXmlError: invalid domain XML, or contradictory settings.
    """
    root = parse_document(xml)
    metadata = root.find("metadata")
    if metadata is not None:
        for element in metadata.findall(f"{{{POLICY_URI}}}*"):
            metadata.remove(element)
    if not policy.is_empty:
        if metadata is None:
            metadata = etree.Element("metadata")
            _insert_metadata(root, metadata)
        build_policy(policy)  # for its checks
        metadata.append(_build(policy))
    elif metadata is not None and not len(metadata):
        root.remove(metadata)
    return render_document(root)


def validate_policy(text: str) -> None:
    """Validate the element against its schema.

    Raises:
        DomainXmlError: it is invalid; the message has line and reason.
    """
    rules = etree.RelaxNG(etree.fromstring(read_schema().encode()))
    try:
        element = etree.fromstring(text.encode(), etree.XMLParser(load_dtd=False))
    except etree.XMLSyntaxError as error:
        raise DomainXmlError(f"<policy> is not well-formed: {error}") from error
    if not rules.validate(element):
        last = rules.error_log.last_error
        why = "" if last is None else f": line {last.line}: {last.message}"
        raise DomainXmlError(f"<policy> does not conform to its schema{why}")


def read_schema() -> str:
    """Return the RELAX NG schema of the element."""
    return files(__package__).joinpath(SCHEMA).read_text(encoding="utf-8")


class _Reader:
    """Reads one element and collects its problems."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def complain(self, element: etree._Element, what: str) -> None:
        self.problems.append(f"metadata, line {element.sourceline}: {what}")

    def read(self, element: etree._Element) -> DomainPolicy:
        self._check_content(element)
        low = self._take(element, "min", _frequency)
        high = self._take(element, "max", _frequency)
        if low is not None and high is not None and low > high:
            self.complain(element, "min is above max; both are ignored")
            low = high = None
        return DomainPolicy(
            min_khz=low,
            max_khz=high,
            turbo=self._take(element, "turbo", _yes_or_no),
            mode=self._take(element, "mode", _mode),
            queries=self._take(element, "queries", _yes_or_no),
            guest_policies=self._take(element, "guest-policies", _yes_or_no),
            generation=self._take(element, "generation", _generation),
            onboard=self._take(element, "onboard", _yes_or_no),
            policies=self._take(element, "policies", _policies),
        )

    def _check_content(self, element: etree._Element) -> None:
        for name in map(str, element.attrib):
            if name not in _ATTRIBUTES:
                self.complain(element, f"unknown attribute {_quote(name)}")
        texts = [element.text, *(child.tail for child in element)]
        if any(text and text.strip() for text in texts):
            self.complain(element, "text inside <policy> is ignored")
        for child in element.iterchildren(etree.Element):
            if etree.QName(child).namespace in (None, POLICY_URI):
                self.complain(child, f"unknown element <{_local(child)}>")

    def _take(
        self, element: etree._Element, name: str, convert: Callable[[str], _Value]
    ) -> _Value | None:
        word = element.get(name)
        if word is None:
            return None
        try:
            return convert(str(word))
        except (ValueError, ConfigError) as error:
            self.complain(element, f"{name}={_quote(str(word))}: {error}")
            return None


def _frequency(word: str) -> KHz:
    if not word.isascii() or len(word) > _LONGEST:
        raise ValueError(f"expected {FREQUENCY_FORMATS}")
    return parse_khz(word)


def _yes_or_no(word: str) -> bool:
    if word not in ("yes", "no"):
        raise ValueError("expected yes or no")
    return word == "yes"


def _mode(word: str) -> Mode:
    if word not in tuple(Mode):
        raise ValueError(f"expected one of {', '.join(Mode)}")
    return Mode(word)


def _generation(word: str) -> int:
    known = [str(size) for size in GENERATIONS]
    if word not in known:
        raise ValueError(f"expected one of {', '.join(known)}")
    return int(word)


def _policies(word: str) -> str | None:
    return word if parse_policies(word) else None


def _build(policy: DomainPolicy) -> etree._Element:
    element = etree.Element(_TAG, nsmap={POLICY_PREFIX: POLICY_URI})
    words = {
        "min": policy.min_khz,
        "max": policy.max_khz,
        "turbo": _word(policy.turbo),
        "mode": policy.mode,
        "queries": _word(policy.queries),
        "guest-policies": _word(policy.guest_policies),
        "generation": policy.generation,
        "onboard": _word(policy.onboard),
        "policies": policy.policies,
    }
    for name, word in words.items():
        if word is not None:
            element.set(name, str(word))
    return element


def _word(answer: bool | None) -> str | None:  # noqa: FBT001 - it is what is written
    return None if answer is None else ("yes" if answer else "no")


def _insert_metadata(root: etree._Element, metadata: etree._Element) -> None:
    """Insert the metadata where libvirt writes it: after names and descriptions."""
    named = [
        root.find(tag) for tag in ("description", "title", "genid", "uuid", "name")
    ]
    before = next((element for element in named if element is not None), None)
    if before is None:
        root.insert(0, metadata)
        return
    metadata.tail = before.tail
    before.addnext(metadata)


def _local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)[:_LONGEST]


def _quote(word: str) -> str:
    # A value can have any length and any characters.
    return repr(word if len(word) <= _LONGEST else f"{word[:_LONGEST]}...")
