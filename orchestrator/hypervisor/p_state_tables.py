# SPDX-License-Identifier: Apache-2.0
"""The files with the ACPI tables of domains.

A table's name has the UUID of its domain and a digest of its contents. So a running
domain, or one that was saved, keeps its table when the definition gets another one.

QEMU reads a table when it starts, as another user, so every user may read it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.errors import HypervisorError
from orchestrator.system.durable_file import replace_durably
from orchestrator.system.ownership import create_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DIGEST_BYTES = 6
_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o644
_MOST_BYTES = 1 << 16


def path_of_table(directory: Path, uuid: str, table: bytes) -> Path:
    """Return where a domain's table is kept."""
    digest = hashlib.blake2b(table, digest_size=_DIGEST_BYTES).hexdigest()
    return directory / f"{uuid}-{digest}.aml"


def write_table(path: Path, table: bytes) -> bool:
    """Write a table, unless it is there.

    Returns:
        Whether it was written.

    Raises:
        HypervisorError: it could not be written.
    """
    try:
        if _read(path) == table:
            return False
        create_directory(path.parent, _DIRECTORY_MODE)
        replace_durably(path, table, mode=_FILE_MODE)
    except OSError as error:
        raise HypervisorError(
            f"cannot write the ACPI table {path}: {error.strerror}",
            hint="run the command as root, or set p_states.directory in vmpower.toml",
        ) from error
    return True


def remove_unused_tables(directory: Path, domain: libvirt.virDomain) -> None:
    """Remove the tables of a domain that none of its descriptions names.

    These are the running domain, its definition, its saved state and its snapshots. A
    file that cannot be removed stays.

    Raises:
        libvirt.libvirtError: libvirt does not answer.
    """
    descriptions = tuple(_descriptions(domain))
    with suppress(OSError):
        for path in sorted(directory.glob(f"{domain.UUIDString()}-*.aml")):
            if not any(str(path) in xml for xml in descriptions):
                path.unlink(missing_ok=True)


def _descriptions(domain: libvirt.virDomain) -> Iterator[str]:
    yield domain.XMLDesc(0)
    yield from _if_any(lambda: domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    yield from _if_any(lambda: domain.managedSaveGetXMLDesc(0))
    with suppress(libvirt.libvirtError):
        for snapshot in domain.listAllSnapshots(0):
            yield from _if_any(partial(snapshot.getXMLDesc, 0))


def _if_any(read: Callable[[], str]) -> Iterator[str]:
    with suppress(libvirt.libvirtError):  # there is none, or the driver has none
        yield read()


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
