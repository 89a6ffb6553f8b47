# SPDX-License-Identifier: Apache-2.0
"""Checks a specification before a domain is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.domain import MAX_CHANNEL_NUMBER

if TYPE_CHECKING:
    from lxml import etree

    from domain_templates.spec import TemplateSpec

_MAX_NAME_BYTES = 200
"""libvirt names files after the domain, and a file name has at most 255 bytes."""


def check_spec(name: str, spec: TemplateSpec, vcpus: int) -> None:
    """Refuse a specification that contradicts itself or is out of range.

    Args:
        name: of the domain.
        spec: of the domain.
        vcpus: their number, from the specification or the template.

    Raises:
        ConfigError: a value is invalid.
    """
    if not _is_name(name):
        raise ConfigError(
            f"invalid domain name {name!r}:"
            " expected printable characters without '/', at most 200 bytes"
        )
    if not 1 <= vcpus <= MAX_CHANNEL_NUMBER + 1:
        raise ConfigError(
            f"invalid number of vCPUs {vcpus}: expected 1 to {MAX_CHANNEL_NUMBER + 1}"
        )
    if spec.memory_mib is not None and spec.memory_mib < 1:
        raise ConfigError(
            f"invalid memory size {spec.memory_mib} MiB: expected at least 1 MiB"
        )
    if spec.pins and len(spec.pins) != vcpus:
        raise ConfigError(
            f"host CPUs given: {len(spec.pins)}, expected: {vcpus} (one for each vCPU)"
        )
    _check_texts(spec)


def check_machine(root: etree._Element) -> None:
    """Refuse a template that is a container or a paravirtualized guest.

    Raises:
        ConfigError: QEMU cannot run it.
    """
    kind = (root.findtext("os/type") or "hvm").strip()
    if kind != "hvm":
        raise ConfigError(
            f"invalid template: <type>{kind}</type> in <os>: expected hvm"
        )


def check_disks(root: etree._Element) -> None:
    """Refuse disks with one device name, which libvirt would refuse.

    Raises:
        ConfigError: two disks have the same name.
    """
    names = [str(it.get("dev")) for it in root.iterfind("devices/disk/target")]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two disks have the device name '{name}'",
                hint="change one of the <target dev='...'/> in the template",
            )


def _check_texts(spec: TemplateSpec) -> None:
    if spec.kernel is None and (spec.initrd is not None or spec.cmdline):
        raise ConfigError("--initrd and --cmdline require --kernel")
    if not spec.cmdline.isprintable():
        raise ConfigError("the kernel command line has unprintable characters")
    paths = (spec.kernel, spec.initrd, spec.console, spec.socket_dir)
    for path in (*paths, spec.disk, spec.cloud_init):
        if path is not None and not (path.is_absolute() and str(path).isprintable()):
            raise ConfigError(
                f"invalid path {str(path)!r}: expected a printable absolute path"
            )


def _is_name(name: str) -> bool:
    is_short = 0 < len(name.encode(errors="replace")) <= _MAX_NAME_BYTES
    return is_short and name.isprintable() and "/" not in name and name.strip() == name
