"""A template's own parameters: named places in its XML.

A template is a complete, valid domain. Inside its metadata it says what it is for, and
which of its values have a name::

    <metadata>
      <t:template xmlns:t="urn:vmpower:template:1" summary="A guest for DPDK">
        <t:parameter name="hugepage-mib" place="memoryBacking/hugepages/page/@size"
                     remove="memoryBacking/hugepages">Size of a huge page</t:parameter>
      </t:template>
    </metadata>

`place` is a path from the domain to an element (its text is the value) or, with
`/@name` at the end, to an attribute. `remove` is what `none` as value takes away.
`required="yes"` has no meaningful value in the template itself; `option` names the
option of `domain add` that gives it, too. The element is not part of what is built.

Source: the paths are ElementPath's, of Python's xml.etree.ElementTree.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from lxml import etree

TEMPLATE_URI = "urn:vmpower:template:1"
NOTHING = "none"
"""The value that takes away what the parameter is about."""
_TAG = f"{{{TEMPLATE_URI}}}template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value of a template that has a name."""

    name: str
    place: str
    summary: str
    remove: str = ""
    is_required: bool = False
    option: str = ""


def read_summary(root: etree._Element) -> str:
    """Read what a template says that it is for; empty if it does not."""
    note = root.find(f"metadata/{_TAG}")
    return "" if note is None else str(note.get("summary", ""))


def read_parameters(root: etree._Element) -> tuple[Parameter, ...]:
    """Read which values of a template have names.

    Raises:
        DomainXmlError: a parameter has no name or place, or nothing is at its place.
    """
    found = root.iterfind(f"metadata/{_TAG}/{{{TEMPLATE_URI}}}parameter")
    return tuple(_read(root, element) for element in found)


def read_value(root: etree._Element, parameter: Parameter) -> str | None:
    """Read the value as it is in the template; None: there is no such place."""
    path, _, attribute = parameter.place.partition("/@")
    element = _find(root, path)
    if element is None:
        return None
    value = element.get(attribute) if attribute else (element.text or "").strip()
    return None if value is None else str(value)


def apply_parameters(
    root: etree._Element,
    parameters: Iterable[Parameter],
    settings: Mapping[str, str],
) -> None:
    """Put values into their places.

    Raises:
        ConfigError: a name is unknown, or a value cannot be.
    """
    known = {item.name: item for item in parameters}
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(_unknown(name, known))
        _apply(root, known[name], value)


def check_required(parameters: Iterable[Parameter], given: Collection[str]) -> None:
    """Insist on the values that a template cannot have itself.

    Args:
        parameters: the template's.
        given: names of parameters and of options of `domain add` that have a value.

    Raises:
        ConfigError: one is lacking.
    """
    for item in parameters:
        if item.is_required and not {item.name, item.option} & set(given):
            raise ConfigError(
                f"the template needs a '{item.name}': {item.summary}",
                hint=f"give --{item.option}" if item.option else _how(item.name),
            )


def drop_note(root: etree._Element) -> None:
    """Take out of a document what made it a template."""
    metadata = root.find("metadata")
    if metadata is None:
        return
    for note in metadata.findall(_TAG):
        metadata.remove(note)
    if not len(metadata):
        root.remove(metadata)


def _read(root: etree._Element, element: etree._Element) -> Parameter:
    parameter = Parameter(
        name=str(element.get("name", "")),
        place=str(element.get("place", "")),
        summary=" ".join((element.text or "").split()),
        remove=str(element.get("remove", "")),
        is_required=element.get("required") == "yes",
        option=str(element.get("option", "")),
    )
    where = f"line {element.sourceline}: parameter '{parameter.name}'"
    if not parameter.name or not parameter.place:
        raise DomainXmlError(f"{where} needs a name and a place")
    try:
        is_there = read_value(root, parameter) is not None
    except SyntaxError as error:
        raise DomainXmlError(f"{where}: '{parameter.place}' is no path") from error
    if not is_there:
        raise DomainXmlError(f"{where}: nothing is at '{parameter.place}'")
    return parameter


def _apply(root: etree._Element, parameter: Parameter, value: str) -> None:
    if not value.isprintable():
        raise ConfigError(f"the value of '{parameter.name}' has unprintable characters")
    path, _, attribute = parameter.place.partition("/@")
    is_gone = value == NOTHING and parameter.remove
    element = _find(root, parameter.remove if is_gone else path)
    if element is None:
        raise ConfigError(f"'{parameter.name}' is about something taken away")
    if is_gone:
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)
    elif attribute:
        element.set(attribute, value)
    else:
        element.text = value


def _find(root: etree._Element, path: str) -> etree._Element | None:
    return root.find(path)


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    meant = f", did you mean '{near[0]}'?" if near else ""
    has = f"it has {', '.join(sorted(known))}" if known else "it has none"
    return f"the template has no parameter '{name}'{meant or f': {has}'}"


def _how(name: str) -> str:
    return f"give --set {name}=VALUE"
