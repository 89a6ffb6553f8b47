# SPDX-License-Identifier: Apache-2.0
"""Checks for `domain add`: what libvirt would refuse when the domain starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, DomainGone, SysfsError
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.output.echo import Hints
    from domain_templates.needs import HostNeeds, Needed
    from orchestrator.hypervisor.operator import OperatorConnection
    from orchestrator.power.sysfs import CpuTree

_LINKS = Path("/sys/class/net")
_FUNCTIONS = Path("/sys/bus/pci/devices")
_NODES = Path("/sys/devices/system/node/online")
_KVM = Path("/dev/kvm")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a domain would not start on this host."""

    message: str
    fix: str


def check_options(
    paths: Mapping[str, Path | None], hints: Hints, *, must_exist: bool
) -> None:
    """Check that the files that options name exist.

    Args:
        paths: of the files, by option; None: not given.
        hints: gets what is only mentioned.
        must_exist: the domain is for this host. XML that is only printed may be for
            another host; then missing files are only mentioned.

    Raises:
        ConfigError: a file does not exist.
    """
    for option, path in paths.items():
        if path is None or not _is_missing(path):
            continue
        if must_exist:
            raise ConfigError(
                f"{option}: {path} does not exist",
                hint="create it or name another file; to print the XML only, the file"
                " is not needed",
            )
        hints.add(
            f"{option}: {path} does not exist on this host;"
            " the domain will not start without it"
        )


def check_name_is_free(connection: OperatorConnection, name: str) -> None:
    """Refuse the name of an existing domain.

    Raises:
        ConfigError: libvirt has a domain of this name.
        HypervisorError: libvirt returned an error.
    """
    try:
        found = connection.find(name)
    except DomainGone:
        return
    if found.name == name:
        raise ConfigError(
            f"domain '{name}' already exists ({found.uuid})",
            hint="choose another name, or undefine it first",
        )


def check_host(
    connection: OperatorConnection,
    tree: CpuTree,
    needs: HostNeeds,
    hints: Hints,
    *,
    must_start: bool,
) -> None:
    """Check that a host has what a domain needs.

    Args:
        connection: to its libvirt.
        tree: its CPUs.
        needs: of the domain.
        hints: gets what is only mentioned.
        must_start: it is started now; otherwise what can be created until then is
            only mentioned.

    Raises:
        ConfigError: the domain would not start.
        HypervisorError: no such host CPU, or libvirt returned an error.
    """
    connection.check_cpus(needs.cpus)
    _check_nodes(needs)
    for problem in _find_problems(connection, tree, needs):
        if must_start:
            raise ConfigError(problem.message, hint=problem.fix)
        hints.add(f"{problem.message}; before it starts: {problem.fix}")


def _find_problems(
    connection: OperatorConnection, tree: CpuTree, needs: HostNeeds
) -> Iterator[Problem]:
    """Find what a host lacks that can be created before the domain starts."""
    yield from _find_offline_cpus(tree, needs)
    if needs.is_kvm and connection.is_qemu and _is_missing(_KVM):
        yield Problem(
            "this host has no KVM", "load kvm_intel or kvm_amd, or use --type qemu"
        )
    yield from _find_missing_networks(connection, needs)
    for function in needs.functions:
        if _is_missing(_FUNCTIONS / function):
            yield Problem(f"no such PCI device: {function}", "see 'lspci -D'")
    for needed in needs.files:
        if _is_missing(needed.path):
            yield _missing(needed, "file", "create it, or name another one")
    for needed in needs.directories:
        if _is_missing(needed.path):
            yield _missing(needed, "directory", f"mkdir {needed.path}")


def _find_missing_networks(
    connection: OperatorConnection, needs: HostNeeds
) -> Iterator[Problem]:
    for name in needs.networks:
        is_active = connection.is_network_active(name)
        if is_active is None:
            yield Problem(f"no such network: '{name}'", "see 'virsh net-list --all'")
        elif not is_active:
            yield Problem(f"network '{name}' is not active", f"virsh net-start {name}")
    for name in needs.links:
        if _is_missing(_LINKS / name):
            yield Problem(f"no such network device: '{name}'", "see 'ip link'")


def _find_offline_cpus(tree: CpuTree, needs: HostNeeds) -> Iterator[Problem]:
    try:
        online = tree.online()
    except SysfsError:
        return  # no CPU tree
    for cpu in sorted(needs.cpus - online):
        directory = tree.cpu_dir / f"cpu{cpu}"
        if directory.exists():
            yield Problem(f"CPU {cpu} is offline", f"echo 1 > {directory}/online")


def _missing(needed: Needed, kind: str, fix: str) -> Problem:
    return Problem(f"{needed.user}: no such {kind}: {needed.path}", fix)


def _check_nodes(needs: HostNeeds) -> None:
    try:
        online = parse_cpulist(_NODES.read_text(encoding="ascii"))
    except (OSError, ConfigError):
        return  # a kernel without NUMA
    absent = min(needs.nodes - online, default=None)
    if absent is not None:
        raise ConfigError(
            f"no such NUMA node: {absent}", hint="see 'numactl --hardware'"
        )


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:
        return False  # permission denied: libvirt may still have access
