# SPDX-License-Identifier: Apache-2.0
"""The command's side of libvirt, on a real guest."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.errors import ConfigError, DomainGone, HypervisorError
from orchestrator.hypervisor.lookup import FoundDomain
from orchestrator.hypervisor.operator import OperatorConnection
from orchestrator.values.domain import DomainId, VCpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig.libvirtd import SessionHost

UUID = DomainId("9999e6cd-caca-4c68-8934-da43e4863198")
NAME = "36-letters-are-a-name-or-are-a-uuid-"
DEFINITION = f"""
<domain type='qemu'><name>{NAME}</name><uuid>{UUID}</uuid>
<memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><memballoon model='none'/></devices></domain>"""


@pytest.fixture
def operator(
    session_host: SessionHost,
) -> Iterator[OperatorConnection]:
    with OperatorConnection(session_host.uri) as connection:
        yield connection


@pytest.fixture
def found(
    operator: OperatorConnection,
    session_host: SessionHost,
    open_connection: Callable[[str], libvirt.virConnect],
) -> Iterator[FoundDomain]:
    yield operator.define(DEFINITION)
    domain = open_connection(session_host.uri).lookupByUUIDString(UUID)
    if domain.isActive():
        domain.destroy()
    domain.undefine()


def pinning_of(
    connection: libvirt.virConnect, flags: int = libvirt.VIR_DOMAIN_AFFECT_CURRENT
) -> list[int]:
    [mask] = connection.lookupByUUIDString(UUID).vcpuPinInfo(flags)
    return [cpu for cpu, is_allowed in enumerate(mask) if is_allowed]


@pytest.mark.rig
def test_a_domain_is_defined_found_and_started(
    operator: OperatorConnection, found: FoundDomain
) -> None:
    assert found == FoundDomain(
        uuid=UUID, name=NAME, is_active=False, is_persistent=True
    )
    assert operator.find(NAME) == operator.find(UUID) == found
    operator.start(UUID)
    assert operator.find(UUID).is_active
    with pytest.raises(HypervisorError, match="already running"):
        operator.start(UUID)


@pytest.mark.rig
def test_a_pinning_applies_to_the_given_description(
    operator: OperatorConnection,
    found: FoundDomain,
    session_host: SessionHost,
    open_connection: Callable[[str], libvirt.virConnect],
) -> None:
    connection = open_connection(session_host.uri)
    operator.pin(found.uuid, VCpu(0), {0})
    assert pinning_of(connection) == [0]
    another = DomainId("00000000-0000-4000-8000-000000000000")
    assert operator.list_vcpus_on(0, found.uuid) == ((NAME, VCpu(0)),)
    assert operator.list_vcpus_on(1, found.uuid) == ()
    assert operator.list_vcpus_on(0, another) == ()  # as it is not running
    with pytest.raises(HypervisorError, match="not running") as refused:
        operator.pin(found.uuid, VCpu(0), {1}, live=True)
    assert refused.value.hint == "without --live, its definition is changed"
    operator.start(found.uuid)
    operator.pin(found.uuid, VCpu(0), {1})
    assert pinning_of(connection) == [1]
    assert pinning_of(connection, libvirt.VIR_DOMAIN_AFFECT_CONFIG) == [0]
    operator.pin(found.uuid, VCpu(0), {0, 1}, live=True, config=True)
    assert pinning_of(connection) == [0, 1]
    assert pinning_of(connection, libvirt.VIR_DOMAIN_AFFECT_CONFIG) == [0, 1]


def test_no_domain_is_found_by_what_only_resembles_a_uuid() -> None:
    with OperatorConnection("test:///default") as connection:
        for word in (NAME, UUID, "", "9" * 40, "4", "é"):
            with pytest.raises(DomainGone, match="no such domain"):
                connection.find(word)


def test_a_remote_and_an_absent_libvirt_are_refused() -> None:
    with pytest.raises(ConfigError, match="remote libvirt URI"):
        OperatorConnection("qemu+ssh://other/system")
    with pytest.raises(HypervisorError, match="No such file"):
        OperatorConnection("qemu+unix:///system?socket=/nonexistent/sock")


@pytest.mark.rig
def test_a_qemu_that_does_not_answer_delays_no_other_domain(
    session_host: SessionHost, open_connection: Callable[[str], libvirt.virConnect]
) -> None:
    connection = open_connection(session_host.uri)
    definition = (
        DEFINITION.replace(NAME, "hung")
        .replace(f"<uuid>{UUID}</uuid>", "")
        .replace("<devices>", "<devices><controller type='virtio-serial' index='0'/>")
    )
    hung = connection.defineXML(definition)
    other = connection.defineXML(definition.replace("hung", "other"))
    hung.create()
    (pid_file,) = session_host.directory.rglob("hung.pid")
    process = int(pid_file.read_text())
    os.kill(process, signal.SIGSTOP)
    try:
        with OperatorConnection(session_host.uri, change_timeout_s=5) as operator:
            with pytest.raises(HypervisorError, match="does not answer") as caught:
                operator.onboard(DomainId(hung.UUIDString()))
            assert "run the command again" in caught.value.hint
            assert operator.onboard(DomainId(other.UUIDString())).config == (0,)
    finally:
        os.kill(process, signal.SIGCONT)
        hung.destroy()
        hung.undefine()
        other.undefine()
