# SPDX-License-Identifier: Apache-2.0
"""Parameters of a template: values in its XML that have names.

A template is a complete, valid domain. Its metadata describes it, and names some of its
values::

    <metadata>
      <t:template xmlns:t="urn:vmpower:template:1" summary="A guest for DPDK">
        <t:parameter name="hugepage-mib" place="memoryBacking/hugepages/page/@size"
                     remove="memoryBacking/hugepages">Size of huge pages</t:parameter>
      </t:template>
    </metadata>

`place` is a path from the domain to an element, whose text is the value, or with
`/@name` at the end to an attribute. `remove` is the element that the value `none`
removes. A parameter with `required="yes"` has no useful value in the template;
`option` names an option of `domain add` that also sets it. With `p-states="yes"` on the
description, `domain add` gives its domains P-states, which depend on the host and so
cannot be in a template. The description is not part of the domains that are built.

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
NONE = "none"
"""The value that removes an element."""
_TAG = f"{{{TEMPLATE_URI}}}template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A named value of a template."""

    name: str
    place: str
    summary: str
    remove: str = ""
    is_required: bool = False
    option: str = ""


def read_summary(root: etree._Element) -> str:
    """Return the summary of a template; empty if it has none."""
    description = root.find(f"metadata/{_TAG}")
    return "" if description is None else str(description.get("summary", ""))


def wants_p_states(root: etree._Element) -> bool:
    """Report whether domains of a template are to have P-states."""
    description = root.find(f"metadata/{_TAG}")
    return description is not None and description.get("p-states") == "yes"


def read_parameters(root: etree._Element) -> tuple[Parameter, ...]:
    """Return the parameters of a template.

    Raises:
        DomainXmlError: a parameter has no name or place, or its place does not exist.
    """
    found = root.iterfind(f"metadata/{_TAG}/{{{TEMPLATE_URI}}}parameter")
    return tuple(_read(root, element) for element in found)


def read_value(root: etree._Element, parameter: Parameter) -> str | None:
    """Return the value in the template; None: its place does not exist."""
    path, _, attribute = parameter.place.partition("/@")
    element = _find(root, path)
    if element is None:
        return None
    value = element.get(attribute) if attribute else (element.text or "").strip()
    return None if value is None else str(value)


def apply_parameters(
    root: etree._Element,
    parameters: Iterable[Parameter],
    values: Mapping[str, str],
) -> None:
    """Set parameters.

    Raises:
        ConfigError: a name is unknown, or a value is invalid.
    """
    known = {item.name: item for item in parameters}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(_unknown(name, known))
        _apply(root, known[name], value)


def check_required(parameters: Iterable[Parameter], given: Collection[str]) -> None:
    """Check that all required parameters are set.

    Args:
        parameters: of the template.
        given: names of parameters, and of options of `domain add`, that are set.

    Raises:
        ConfigError: a required parameter is not set.
    """
    for item in parameters:
        if item.is_required and not {item.name, item.option} & set(given):
            raise ConfigError(
                f"the template requires '{item.name}': {item.summary}",
                hint=f"use --{item.option or f'set {item.name}=VALUE'}",
            )


def has_description(root: etree._Element) -> bool:
    """Report whether a document was written as a template."""
    return root.find(f"metadata/{_TAG}") is not None


def drop_description(root: etree._Element) -> None:
    """Remove the description of the template from a document."""
    metadata = root.find("metadata")
    if metadata is None:
        return
    for description in metadata.findall(_TAG):
        metadata.remove(description)
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
        raise DomainXmlError(f"{where}: 'name' and 'place' are required")
    try:
        has_place = read_value(root, parameter) is not None
    except SyntaxError as error:
        raise DomainXmlError(f"{where}: invalid path '{parameter.place}'") from error
    if not has_place:
        raise DomainXmlError(f"{where}: no such place: '{parameter.place}'")
    return parameter


def _apply(root: etree._Element, parameter: Parameter, value: str) -> None:
    if not value.isprintable():
        raise ConfigError(f"the value of '{parameter.name}' has unprintable characters")
    path, _, attribute = parameter.place.partition("/@")
    is_removed = value == NONE and parameter.remove
    element = _find(root, parameter.remove if is_removed else path)
    if element is None:
        raise ConfigError(f"cannot set '{parameter.name}': its element was removed")
    if is_removed:
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
    suggestion = f", did you mean '{near[0]}'?" if near else ""
    names = f"; available: {', '.join(sorted(known)) or 'none'}"
    return f"the template has no parameter '{name}'{suggestion or names}"
