# SPDX-License-Identifier: Apache-2.0
"""Gathers all facts; those that cannot be read become `Missing`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.doctor.diagnosis import Facts, Missing
from cli.doctor.facts.accounts import Accounts, User, read_accounts, read_user
from cli.doctor.facts.acpi import AcpiTables, read_acpi_tables
from cli.doctor.facts.cpus import Cpus, CpuTreeState, read_cpus
from cli.doctor.facts.daemon import (
    Configuration,
    Daemon,
    Status,
    read_configuration,
    read_daemon,
)
from cli.doctor.facts.directories import Directories, read_directories
from cli.doctor.facts.domains import Domains, domains_of_libvirt, domains_of_status
from cli.doctor.facts.jobs import Jobs, read_jobs
from cli.doctor.facts.kernel import (
    Confinement,
    Kernel,
    Kvm,
    read_confinement,
    read_kernel,
    read_kvm,
)
from cli.doctor.facts.libvirt import Libvirt, read_libvirt
from cli.doctor.facts.power_managers import (
    UNITS,
    PowerManagers,
    read_power_managers,
)
from cli.doctor.facts.service import Service, read_service
from cli.doctor.target import Target
from orchestrator.errors import VmpowerError
from orchestrator.hypervisor.uri import choose_uri
from orchestrator.system.service_unit import start_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.config import Config

_AGAIN = "then run 'vmpower doctor' again"
_START_DAEMON = (
    f"start it with '{start_command()}', or set its run directory with"
    f" --run-dir; {_AGAIN}"
)
_START_LIBVIRT = f"start libvirt, or use another one with --connect; {_AGAIN}"


def gather(target: Target) -> Facts:
    """Read all facts; a running daemon overrides the configuration file."""
    configuration = read_configuration(target)
    daemon = _read_daemon(target)
    target = _resolve(target, configuration.config, daemon)
    status = daemon.status if isinstance(daemon, Daemon) else None
    cpus = _try(lambda: read_cpus(target, status))
    facts: dict[type[Any], Any] = {
        AcpiTables: read_acpi_tables(target),
        Accounts: read_accounts(target),
        Configuration: configuration,
        Confinement: read_confinement(target),
        Cpus: cpus,
        CpuTreeState: CpuTreeState(
            problem=cpus.reason if isinstance(cpus, Missing) else ""
        ),
        Daemon: daemon,
        Jobs: read_jobs(target, UNITS),
        Kernel: read_kernel(target),
        Kvm: read_kvm(target),
        Libvirt: _read_libvirt(target),
        User: _unless_copy(target, "the user", read_user),
        Target: target,
        PowerManagers: read_power_managers(target),
        Service: _unless_copy(target, "the daemon", lambda: read_service(target)),
        Status: _status_of(daemon),
    }
    domains = facts[Domains] = _domains(facts)
    facts[Directories] = (
        read_directories(domains, target) if isinstance(domains, Domains) else domains
    )
    return facts


def _resolve(target: Target, config: Config, daemon: Daemon | Missing) -> Target:
    """Fill in what the command line does not set."""
    status = daemon.status if isinstance(daemon, Daemon) else None
    uri, root = config.libvirt.uri, config.sysfs_root
    if status is not None:
        uri = status["libvirt"]["uri"]
        root = Path(status["daemon"]["sysfs_root"])
    elif target.is_copy:
        uri, root = "", target.path(str(root).lstrip("/"))
    return replace(
        target,
        uri=target.uri if target.uri or target.is_copy else choose_uri(uri),
        sysfs_root=target.sysfs_root or root,
    )


def _unless_copy(target: Target, what: str, read: Callable[[], object]) -> object:
    return _missing_in_copy(what) if target.is_copy else read()


def _missing_in_copy(what: str) -> Missing:
    return Missing(
        f"--root is a copy of a host, so {what} cannot be checked",
        "run 'vmpower doctor' on the host itself",
    )


def _status_of(daemon: Daemon | Missing) -> Status | Missing:
    if isinstance(daemon, Missing):
        return daemon
    if daemon.status is None:
        return Missing(daemon.failure, _START_DAEMON)
    return Status(daemon.status)


def _read_daemon(target: Target) -> Daemon | Missing:
    if target.is_copy:
        return _missing_in_copy("the daemon")
    return read_daemon(target)


def _read_libvirt(target: Target) -> Libvirt | Missing:
    if not target.uri:
        return _missing_in_copy("libvirt")
    if target.uri.startswith("qemu:///embed"):
        return Missing(
            f"{target.uri} is a connection within the daemon's process", _START_DAEMON
        )
    return read_libvirt(target.uri)


def _try(read: Callable[[], object]) -> object:
    try:
        return read()
    except VmpowerError as error:
        return Missing(str(error), error.hint)


def _domains(facts: Facts) -> Domains | Missing:
    status, libvirt, cpus = facts[Status], facts[Libvirt], facts[Cpus]
    if isinstance(status, Status):
        return domains_of_status(status.document)
    for item in (libvirt, cpus):
        if isinstance(item, Missing):
            return item
    if libvirt.inspection is None:
        return Missing(libvirt.failure, _START_LIBVIRT)
    return domains_of_libvirt(libvirt.inspection.domains, cpus.topology)
