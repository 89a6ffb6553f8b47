# SPDX-License-Identifier: Apache-2.0
"""A one-time inspection of a libvirt with minimal rights, for the doctor.

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
from orchestrator.domain_xml.p_state_guests import PStateGuest, read_p_state_guest
from orchestrator.errors import DomainXmlError, HypervisorError
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.spec_reader import ParsedXmlCache, read_domain_spec
from orchestrator.hypervisor.uri import check_uri
from orchestrator.values.domain import DomainId, DomainSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The result of an inspection."""

    version: str
    """libvirt's, as in 9.0.0."""
    write_refusal: str
    """Why a read-write connection was refused; empty if it was not."""
    security_models: frozenset[str]
    """What confines QEMU: "apparmor", "selinux", "dac"."""
    domains: tuple[DomainSpec, ...]
    """By name."""
    unreadable: Mapping[str, str]
    """Domains that could not be read, with the reason."""
    p_state_guests: tuple[PStateGuest, ...] = ()
    """Those whose definition has P-states, or of a transient domain, that runs with
    them."""


def inspect(uri: str, *, timeout_s: float) -> Inspection:
    """Read access rights, security models and domains of a libvirt.

    Args:
        uri: of a libvirt on this machine.
        timeout_s: seconds for all of it. A call to a libvirt that hangs cannot be
            cancelled: its thread is left behind.

    Raises:
        ConfigError: an invalid or a remote URI.
        HypervisorError: libvirt is not running, refused, or did not answer in time.
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
            f"libvirt at {uri} did not answer within {timeout_s:g} s",
            hint="check 'journalctl -u libvirtd -u virtqemud' for the reason",
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
            domains, unreadable = _read_all(connection)
            return Inspection(
                version=_version(connection.getLibVersion()),
                write_refusal=write_refusal,
                security_models=_security_models(connection),
                domains=domains,
                unreadable=unreadable,
                p_state_guests=tuple(_read_p_state_guests(connection)),
            )


def _list_names(uri: str) -> tuple[str, ...]:
    ensure_event_loop()
    with translated(), closing(libvirt.openReadOnly(uri)) as connection:
        return tuple(sorted(domain.name() for domain in connection.listAllDomains(0)))


def _read_all(
    connection: libvirt.virConnect,
) -> tuple[tuple[DomainSpec, ...], dict[str, str]]:
    found: list[DomainSpec] = []
    unreadable: dict[str, str] = {}
    for domain in connection.listAllDomains(0):
        try:
            uuid = DomainId(domain.UUIDString())
            found.append(read_domain_spec(connection, uuid, ParsedXmlCache()))
        except libvirt.libvirtError as error:
            if (
                error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN
            ):  # undefined meanwhile
                unreadable[domain.name()] = str(error)
        except DomainXmlError as error:
            unreadable[domain.name()] = str(error)
    return tuple(sorted(found, key=lambda spec: spec.name)), unreadable


def _read_p_state_guests(connection: libvirt.virConnect) -> Iterator[PStateGuest]:
    for domain in connection.listAllDomains(0):
        # It may be undefined meanwhile; invalid XML is reported otherwise.
        with suppress(libvirt.libvirtError, DomainXmlError):
            is_defined = domain.isPersistent()
            flags = libvirt.VIR_DOMAIN_XML_INACTIVE if is_defined else 0
            guest = read_p_state_guest(domain.XMLDesc(flags))
            if guest is not None:
                yield guest


def _security_models(connection: libvirt.virConnect) -> frozenset[str]:
    with suppress(libvirt.libvirtError, DomainXmlError):  # a driver that has none
        return read_security_models(connection.getCapabilities())
    return frozenset()


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
