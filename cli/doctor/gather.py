"""Gathers all facts; what cannot be had is `Missing`, and the rest goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.doctor.examination import Facts, Missing
from cli.doctor.facts.accounts import Accounts, Person, read_accounts, read_person
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
from cli.doctor.facts.kernel import (
    Confinement,
    Kernel,
    Kvm,
    read_confinement,
    read_kernel,
    read_kvm,
)
from cli.doctor.facts.libvirt import Libvirt, read_libvirt
from cli.doctor.facts.rivals import Rivals, read_rivals
from cli.doctor.facts.service import Service, read_service
from cli.doctor.places import Places
from orchestrator.errors import VmpowerError
from orchestrator.hypervisor.uri import choose_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.config import Config

_AGAIN = "then run 'vmpower doctor' again"
_START_DAEMON = (
    "start it with 'systemctl start vmpowerd', or name its directory with --run-dir;"
    f" {_AGAIN}"
)
_START_LIBVIRT = f"start libvirt, or name another one with --connect; {_AGAIN}"


def gather(places: Places) -> Facts:
    """Style at everything; what the daemon says about itself goes before defaults."""
    configuration = read_configuration(places)
    daemon = _ask_daemon(places)
    places = _settle(places, configuration.config, daemon)
    cpus = _try(lambda: read_cpus(places))
    facts: dict[type[Any], Any] = {
        Accounts: read_accounts(places),
        Configuration: configuration,
        Confinement: read_confinement(places),
        Cpus: cpus,
        CpuTreeState: CpuTreeState(
            problem=cpus.why if isinstance(cpus, Missing) else ""
        ),
        Daemon: daemon,
        Kernel: read_kernel(places),
        Kvm: read_kvm(places),
        Libvirt: _ask_libvirt(places),
        Person: _unless_copy(places, "the user", read_person),
        Places: places,
        Rivals: read_rivals(places),
        Service: _unless_copy(places, "the daemon", lambda: read_service(places)),
        Status: _status_of(daemon),
    }
    domains = facts[Domains] = _domains(facts)
    facts[Directories] = (
        read_directories(domains, places) if isinstance(domains, Domains) else domains
    )
    return facts


def _settle(places: Places, config: Config, daemon: Daemon | Missing) -> Places:
    """Fill in what the command line left open."""
    status = daemon.status if isinstance(daemon, Daemon) else None
    uri, root = config.libvirt.uri, config.sysfs_root
    if status is not None:
        uri = status["libvirt"]["uri"]
        root = Path(status["daemon"]["sysfs_root"])
    elif places.is_copy:
        uri, root = "", places.path(str(root).lstrip("/"))
    return replace(
        places,
        uri=places.uri if places.uri or places.is_copy else choose_uri(uri),
        sysfs_root=places.sysfs_root or root,
    )


def _unless_copy(places: Places, what: str, read: Callable[[], object]) -> object:
    return _missing_in_copy(what) if places.is_copy else read()


def _missing_in_copy(what: str) -> Missing:
    return Missing(
        f"--root is a copy: {what} of this machine would say nothing about it",
        "run 'vmpower doctor' on the machine that it is a copy of",
    )


def _status_of(daemon: Daemon | Missing) -> Status | Missing:
    if isinstance(daemon, Missing):
        return daemon
    if daemon.status is None:
        return Missing(daemon.failure, _START_DAEMON)
    return Status(daemon.status)


def _ask_daemon(places: Places) -> Daemon | Missing:
    if places.is_copy:
        return _missing_in_copy("the daemon")
    return read_daemon(places)


def _ask_libvirt(places: Places) -> Libvirt | Missing:
    if not places.uri:
        return _missing_in_copy("libvirt")
    if places.uri.startswith("qemu:///embed"):
        return Missing(
            f"{places.uri} is inside the daemon's own process", _START_DAEMON
        )
    return read_libvirt(places.uri)


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
