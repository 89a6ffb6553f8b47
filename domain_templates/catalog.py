"""Which templates there are: ours, and those that operators add.

A template is a file `<name>.xml`; one of the operator's goes before ours of that name.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from domain_templates.parameters import Parameter, read_parameters, read_summary
from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError, DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATORS = Path("/etc/vmpower/templates")
DEFAULT = "minimal"
_SHIPPED = ("minimal", "nfv", "cloud")
_NECESSARY = ("name", "memory", "vcpu", "os/type", "devices")
"""What `build` fits to the wishes, so that it must be there."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A domain to start from."""

    name: str
    xml: str
    path: Path | None = None
    """The operator's file; None: it came with vmpower."""

    @property
    def summary(self) -> str:
        """What it is for; empty if it does not say.

        Raises:
            DomainXmlError: it is no domain XML.
        """
        return read_summary(parse_document(self.xml))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its values that have names.

        Raises:
            DomainXmlError: it is no domain XML, or its parameters make no sense.
        """
        return read_parameters(parse_document(self.xml))


def list_templates(directory: Path = OPERATORS) -> tuple[Template, ...]:
    """List all templates: ours, then the operator's by name.

    Raises:
        ConfigError: one of the operator's cannot be read.
    """
    found = {name: _ship(name) for name in _SHIPPED}
    found |= {path.stem: load_file(path) for path in _paths(directory)}
    return tuple(found.values())


def load_template(word: str = DEFAULT, directory: Path = OPERATORS) -> Template:
    """Load a template by its name, or a file by a path that contains a slash.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    if "/" in word:
        return load_file(Path(word))
    own = {path.stem: path for path in _paths(directory)}
    if word in own:
        return load_file(own[word])
    if word in _SHIPPED:
        return _ship(word)
    names = sorted({*_SHIPPED, *own})
    near = difflib.get_close_matches(word, names, n=1)
    raise ConfigError(
        f"no template '{word}'" + (f", did you mean '{near[0]}'?" if near else ""),
        hint=f"there are {', '.join(names)}; a file is named with a slash: ./my.xml",
    )


def load_file(path: Path) -> Template:
    """Load a template from a file of any name.

    Raises:
        ConfigError: it cannot be read, or is no text.
    """
    try:
        xml = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint="'vmpower template list' shows those that need no file",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text") from error
    return Template(name=path.stem, xml=xml, path=path)


def check_template(template: Template) -> tuple[str, ...]:
    """Say in what a template is wrong; one sentence for each thing.

    Only what can be seen without libvirt's schema: see `schema.validate`.
    """
    try:
        root = parse_document(template.xml)
        read_parameters(root)
    except DomainXmlError as error:
        return (str(error),)
    lacking = (tag for tag in _NECESSARY if root.find(tag) is None)
    return tuple(f"it has no <{tag}>" for tag in lacking)


def _ship(name: str) -> Template:
    return Template(
        name=name, xml=files(__package__).joinpath(f"{name}.xml").read_text("utf-8")
    )


def _paths(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.glob("*.xml")):
        if _NAME.fullmatch(path.stem):
            yield path
