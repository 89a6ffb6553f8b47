# SPDX-License-Identifier: Apache-2.0
"""Run times of vCPUs of real QEMUs: a guest in its BIOS uses one vCPU."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.errors import DomainGone, HypervisorError
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.performer.call_pool import CallPool
from orchestrator.sampling.vcpu_times import VCpuTimeReading, utilisation
from orchestrator.values.domain import DomainId
from tests.hypervisor.bios_guest import UUID, Guest, definition
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hypervisor.conftest import Recorder
    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig


def test_a_busy_vcpu_differs_from_an_idle_one(
    hypervisor: Hypervisor,
    session_host: SessionHost,
    open_connection: Callable[[str], libvirt.virConnect],
) -> None:
    guest = Guest(open_connection(session_host.uri))

    def read() -> VCpuTimeReading:
        return VCpuTimeReading(time.monotonic(), hypervisor.vcpu_times(UUID))

    try:
        guest.start(definition())
        wait_for(lambda: hypervisor.vcpu_times(UUID)[0] >= 50_000_000, "the BIOS")
        busy = read()
        guest.domain.suspend()
        first = read()
        wait_for(lambda: time.monotonic() > first.at_s + 0.1, "a tenth of a second")
        second = read()
    finally:
        guest.end()
    assert busy.run_ns[0] > 5 * busy.run_ns[1]
    assert utilisation(first, second, 0) == 0.0


SECOND = DomainId("9989e6cd-caca-4c68-8934-da43e4863198")
UNKNOWN = DomainId("00000000-0000-0000-0000-000000000000")


@pytest.fixture
def guests(
    session_host: SessionHost, open_connection: Callable[[str], libvirt.virConnect]
) -> Iterator[tuple[Guest, Guest]]:
    """Two running guests."""
    connection = open_connection(session_host.uri)
    first, second = Guest(connection), Guest(connection)
    try:
        first.start(definition())
        second.start(definition(name="second").replace(UUID, SECOND))
        yield first, second
    finally:
        first.end()


def test_one_call_reads_all_running_domains(
    hypervisor: Hypervisor, guests: tuple[Guest, Guest]
) -> None:
    wait_for(lambda: hypervisor.vcpu_times(UUID)[0] >= 50_000_000, "the BIOS")
    for guest in guests:
        guest.domain.suspend()
    times = hypervisor.vcpu_times_together([UUID, SECOND, UNKNOWN])
    assert times == {uuid: hypervisor.vcpu_times(uuid) for uuid in (UUID, SECOND)}
    assert times[UUID][0] >= 50_000_000
    # One is off, one is undefined; the connection still has handles of both.
    guests[0].domain.destroy()
    guests[1].domain.undefine()
    guests[1].domain.destroy()
    assert hypervisor.vcpu_times_together([UUID, SECOND]) == {}
    with pytest.raises(HypervisorError, match="inactive domain"):
        hypervisor.vcpu_times(UUID)
    with pytest.raises(DomainGone):
        hypervisor.vcpu_times(SECOND)


def test_handles_of_domains_do_not_keep_a_connection_open(
    session_host: SessionHost, recorder: Recorder, guests: tuple[Guest, Guest]
) -> None:
    assert guests
    others = open_sockets()
    hypervisor = Hypervisor(session_host.uri, post=recorder.post)
    hypervisor.start()
    recorder.wait_for("connected")
    assert hypervisor.vcpu_times_together([UUID, SECOND]).keys() == {UUID, SECOND}
    own = open_sockets() - others
    assert own
    hypervisor.close(5)
    # libvirt's event loop closes them in its next pass, a moment later.
    wait_for(lambda: not own & open_sockets(), "the end of its sockets")


def test_a_qemu_that_hangs_blocks_the_call_for_many_and_no_other(
    session_host: SessionHost, hypervisor: Hypervisor, guests: tuple[Guest, Guest]
) -> None:
    assert guests
    both = [UUID, SECOND]
    assert hypervisor.vcpu_times_together(both).keys() == set(both)
    process = qemu_of(session_host, "second")
    os.kill(process, signal.SIGSTOP)
    pool = CallPool("many", size=1)
    answers: list[dict[DomainId, dict[int, int]]] = []
    try:
        pool.submit(
            "many",
            "read",
            lambda: answers.append(hypervisor.vcpu_times_together(both)),
        )
        since_s = time.monotonic()
        wait_for(lambda: time.monotonic() > since_s + 1, "ten times what it takes")
        # The call for one domain does not block, not even for the one that hangs.
        assert [hypervisor.vcpu_times(uuid).keys() for uuid in both] == [{0, 1}] * 2
        is_held = not answers
    finally:
        os.kill(process, signal.SIGCONT)
        pool.stop()
        assert pool.join(30)
    (answer,) = answers
    assert answer.keys() == set(both)
    version = libvirt.open(session_host.uri).getLibVersion()
    assert is_held == (version >= 8_009_000)


def qemu_of(host: SessionHost, name: str) -> int:
    (pid_file,) = host.directory.rglob(f"{name}.pid")
    return int(pid_file.read_text())


def open_sockets() -> set[str]:
    """Return the names of this process's sockets, which are unique."""
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            targets.append(str(link.readlink()))
    return {target for target in targets if target.startswith("socket:")}
