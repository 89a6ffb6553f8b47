"""Wishes that cannot be are refused before anything is built, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.domain import MAX_CHANNEL_NUMBER

if TYPE_CHECKING:
    from domain_templates.spec import TemplateSpec

_MAX_NAME_BYTES = 200
"""libvirt names a file after the domain, and a file's name has 255 bytes."""


def check_wishes(name: str, spec: TemplateSpec, vcpus: int) -> None:
    """Refuse wishes that contradict each other or are out of range.

    Args:
        name: of the domain.
        spec: the wishes.
        vcpus: how many vCPUs it gets, by wish or by template.

    Raises:
        ConfigError: one cannot be.
    """
    if not _is_name(name):
        raise ConfigError(
            f"{name!r} is no name for a domain",
            hint="use printable characters, no '/', at most 200 bytes",
        )
    if not 1 <= vcpus <= MAX_CHANNEL_NUMBER + 1:
        raise ConfigError(
            f"{vcpus} vCPUs: between 1 and {MAX_CHANNEL_NUMBER + 1} are possible"
        )
    if spec.memory_mib is not None and spec.memory_mib < 1:
        raise ConfigError(f"{spec.memory_mib} MiB is no memory")
    if spec.pins and len(spec.pins) != vcpus:
        raise ConfigError(
            f"{len(spec.pins)} CPUs to pin {vcpus} vCPUs to",
            hint="name one CPU for each vCPU",
        )
    _check_texts(spec)


def _check_texts(spec: TemplateSpec) -> None:
    if spec.kernel is None and (spec.initrd is not None or spec.cmdline):
        raise ConfigError("an initrd or a command line needs a kernel")
    if not spec.cmdline.isprintable():
        raise ConfigError("the command line has unprintable characters")
    paths = (spec.kernel, spec.initrd, spec.console, spec.socket_dir)
    for path in (*paths, spec.disk, spec.cloud_init):
        if path is not None and not (path.is_absolute() and str(path).isprintable()):
            raise ConfigError(f"{str(path)!r} is no absolute path")


def _is_name(name: str) -> bool:
    is_short = 0 < len(name.encode(errors="replace")) <= _MAX_NAME_BYTES
    return is_short and name.isprintable() and "/" not in name and name.strip() == name
