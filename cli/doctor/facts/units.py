# SPDX-License-Identifier: Apache-2.0
"""Enabled systemd units, and what they run.

Source: systemd.unit(5): an enabled unit is a link in a `.wants` or `.requires`
directory, a masked one is a link to /dev/null; systemd.timer(5), systemd.path(5).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.facts.writes import Line, lines_of
from cli.doctor.target import read_text
from orchestrator.system.service_unit import UNIT_DIRECTORIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.doctor.target import Target

_DIRECTORIES = tuple(directory.lstrip("/") for directory in UNIT_DIRECTORIES)
"""Below the root that is examined."""
_STARTERS = (".timer", ".path")
_SERVICE = ".service"
_NULL = "/dev/null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """An enabled service, or one that an enabled timer or path starts."""

    name: str
    starter: str
    """The unit that is enabled; the service itself, or its timer or path."""
    files: tuple[Path, ...]
    """Its file and its drop-ins, as far as they exist."""


def read_units(target: Target) -> tuple[Unit, ...]:
    """Find the enabled units that are not masked."""
    found: dict[str, Unit] = {}
    for name in _enabled(target):
        service = name
        if name.endswith(_STARTERS):
            service = _started_by(target, name)
        if service.endswith(_SERVICE) and not _is_masked(target, service):
            unit = Unit(name=service, starter=name, files=_files(target, service))
            found.setdefault(service, unit)
    return tuple(found.values())


def commands_of(file: Path) -> list[Line]:
    """Return the commands of a unit's file (ExecStart= and its like)."""
    found, is_continued = [], False
    for line in lines_of(read_text(file)):
        key, _, value = line.text.partition("=")
        is_command = key.startswith("Exec") and key.isalpha()
        if is_command or is_continued:
            found.append(Line(line.number, value if is_command else line.text))
        is_continued = (is_command or is_continued) and line.text.endswith("\\")
    return found


def _enabled(target: Target) -> Iterator[str]:
    names = {
        path.name
        for directory in _DIRECTORIES
        for kind in ("wants", "requires")
        for path in target.path(directory).glob(f"*.{kind}/*")
    }
    # The service itself before its timer.
    yield from sorted(names, key=lambda name: (not name.endswith(_SERVICE), name))


def _started_by(target: Target, name: str) -> str:
    if _is_masked(target, name):
        return ""
    for file in _files(target, name):
        for line in lines_of(read_text(file)):
            key, _, value = line.text.partition("=")
            if key.strip() == "Unit":
                return value.strip()
    return name.rpartition(".")[0] + _SERVICE


def _files(target: Target, name: str) -> tuple[Path, ...]:
    """Find the file of a unit, or of its template, and their drop-ins."""
    prefix, at, _ = name.partition("@")
    names = [name, f"{prefix}@{_SERVICE}"] if at else [name]
    paths = (target.path(f"{d}/{each}") for each in names for d in _DIRECTORIES)
    file = next((path for path in paths if os.path.lexists(path)), None)
    drop_ins = {
        path.name: path
        for directory in reversed(_DIRECTORIES)
        for each in names
        for path in sorted(target.path(f"{directory}/{each}.d").glob("*.conf"))
    }
    own = () if file is None else (_follow(target, file),)
    return (*own, *drop_ins.values())


def _is_masked(target: Target, name: str) -> bool:
    for directory in _DIRECTORIES:
        path = target.path(f"{directory}/{name}")
        if path.is_symlink():
            return os.fspath(path.readlink()) == _NULL
        if path.exists():
            return False
    return False


def _follow(target: Target, path: Path) -> Path:
    """Follow a link to its target below the root, not in this host."""
    if path.is_symlink() and (to := path.readlink()).is_absolute():
        return target.path(os.fspath(to).lstrip("/"))
    return path
