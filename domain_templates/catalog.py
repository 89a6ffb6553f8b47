# SPDX-License-Identifier: Apache-2.0
"""The built-in templates, and local ones.

A template is a file `<name>.xml`; a local one replaces a built-in one of that name.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from domain_templates.parameters import (
    Parameter,
    read_parameters,
    read_summary,
    wants_p_states,
)
from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError, DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_DIRECTORY = Path("/etc/vmpower/templates")
DEFAULT = "minimal"
_BUILT_IN = ("minimal", "nfv", "cloud", "linux")
_REQUIRED = ("name", "memory", "os/type", "devices")
"""Elements that `build` sets."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A domain to start from."""

    name: str
    xml: str
    path: Path | None = None
    """Of a local template; None: built-in."""

    @property
    def summary(self) -> str:
        """Its purpose, in one line; empty if the template has none.

        Raises:
            DomainXmlError: it is not domain XML.
        """
        return read_summary(parse_document(self.xml))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters.

        Raises:
            DomainXmlError: it is not domain XML, or a parameter is invalid.
        """
        return read_parameters(parse_document(self.xml))

    @property
    def has_p_states(self) -> bool:
        """Whether its domains get P-states unless an option says otherwise.

        Raises:
            DomainXmlError: it is not domain XML.
        """
        return wants_p_states(parse_document(self.xml))


def list_templates(directory: Path = LOCAL_DIRECTORY) -> tuple[Template, ...]:
    """List the built-in templates, then the local ones by name.

    Raises:
        ConfigError: a local template cannot be read.
    """
    found = {name: _load_built_in(name) for name in _BUILT_IN}
    found |= {path.stem: load_file(path) for path in _paths(directory)}
    return tuple(found.values())


def load_template(name: str = DEFAULT, directory: Path = LOCAL_DIRECTORY) -> Template:
    """Load a template by name, or from a path, which must contain a slash.

    Raises:
        ConfigError: there is no such template, or it cannot be read.
    """
    if "/" in name:
        return load_file(Path(name))
    local = {path.stem: path for path in _paths(directory)}
    if name in local:
        return load_file(local[name])
    if name in _BUILT_IN:
        return _load_built_in(name)
    names = sorted({*_BUILT_IN, *local})
    near = difflib.get_close_matches(name, names, n=1)
    raise ConfigError(
        f"no such template: '{name}'"
        + (f", did you mean '{near[0]}'?" if near else ""),
        hint=f"available: {', '.join(names)}; for a file, use a path: ./my.xml",
    )


def load_file(path: Path) -> Template:
    """Load a template from a file with any name.

    Raises:
        ConfigError: the file cannot be read, or is not text.
    """
    try:
        xml = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint="see 'vmpower template list' for templates that need no file",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text") from error
    return Template(name=path.stem, xml=xml, path=path)


def check_template(template: Template) -> tuple[str, ...]:
    """Return the problems of a template that are found without libvirt's schema.

    See also `schema.validate`.
    """
    try:
        root = parse_document(template.xml)
        read_parameters(root)
    except DomainXmlError as error:
        return (str(error),)
    missing = (tag for tag in _REQUIRED if root.find(tag) is None)
    return tuple(f"no <{tag}> element" for tag in missing)


def _load_built_in(name: str) -> Template:
    return Template(
        name=name, xml=files(__package__).joinpath(f"{name}.xml").read_text("utf-8")
    )


def _paths(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.glob("*.xml")):
        if _NAME.fullmatch(path.stem):
            yield path
