"""One look at a libvirt with as few rights as will do, for whoever looks for faults.

Source: virConnectOpenReadOnly of libvirt-host.h; `<secmodel>` of the capabilities
(formatcaps).
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import libvirt

from orchestrator.domain_xml.capabilities import read_security_models
from orchestrator.errors import DomainXmlError, HypervisorError
from orchestrator.hypervisor.describe import KnownXml, describe_domain
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.uri import check_uri
from orchestrator.values.domain import DomainId, DomainSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was seen."""

    version: str
    """libvirt's, as in 9.0.0."""
    write_refusal: str
    """Why no read-write connection is to be had; empty: it is."""
    security_models: frozenset[str]
    """What confines QEMU: "apparmor", "selinux", "dac"."""
    domains: tuple[DomainSpec, ...]
    """By name."""
    unreadable: Mapping[str, str]
    """Domains that cannot be described, with the reason."""


def inspect(uri: str, *, timeout_s: float) -> Inspection:
    """Look at a libvirt: who may connect, what confines its guests, its domains.

    Args:
        uri: of a libvirt on this machine.
        timeout_s: seconds for all of it. A libvirt that hangs cannot be interrupted: a
            thread then stays behind that waits for it.

    Raises:
        ConfigError: the URI leads to another machine or nowhere.
        HypervisorError: libvirt is not there, refuses us, or does not answer in time.
    """
    check_uri(uri)
    return _within(lambda: _inspect(uri), uri, timeout_s)


def list_names(uri: str, *, timeout_s: float) -> tuple[str, ...]:
    """List the names of all domains, read-only.

    Raises:
        ConfigError: as `inspect`.
        HypervisorError: as `inspect`.
    """
    check_uri(uri)
    return _within(lambda: _list_names(uri), uri, timeout_s)


def _within(ask: Callable[[], AnswerT], uri: str, timeout_s: float) -> AnswerT:
    answers: list[AnswerT] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run, name="libvirt-inspection", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failures:
        raise failures[0]
    if not answers:
        raise HypervisorError(
            f"libvirt at {uri} does not answer within {timeout_s:g} s",
            hint="see what holds it up: 'journalctl -u libvirtd -u virtqemud'",
        )
    return answers[0]


def _inspect(uri: str) -> Inspection:
    ensure_event_loop()
    write_refusal = ""
    with translated():
        try:
            connection = libvirt.open(uri)
        except libvirt.libvirtError as error:
            write_refusal = str(error)
            connection = libvirt.openReadOnly(uri)
        with closing(connection):
            domains, unreadable = _describe_all(connection)
            return Inspection(
                version=_version(connection.getLibVersion()),
                write_refusal=write_refusal,
                security_models=_security_models(connection),
                domains=domains,
                unreadable=unreadable,
            )


def _list_names(uri: str) -> tuple[str, ...]:
    ensure_event_loop()
    with translated(), closing(libvirt.openReadOnly(uri)) as connection:
        return tuple(sorted(domain.name() for domain in connection.listAllDomains(0)))


def _describe_all(
    connection: libvirt.virConnect,
) -> tuple[tuple[DomainSpec, ...], dict[str, str]]:
    found: list[DomainSpec] = []
    unreadable: dict[str, str] = {}
    for domain in connection.listAllDomains(0):
        try:
            uuid = DomainId(domain.UUIDString())
            found.append(describe_domain(connection, uuid, KnownXml()))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # gone meanwhile
                unreadable[domain.name()] = str(error)
        except DomainXmlError as error:
            unreadable[domain.name()] = str(error)
    return tuple(sorted(found, key=lambda spec: spec.name)), unreadable


def _security_models(connection: libvirt.virConnect) -> frozenset[str]:
    with suppress(libvirt.libvirtError, DomainXmlError):  # a driver that has none
        return read_security_models(connection.getCapabilities())
    return frozenset()


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
