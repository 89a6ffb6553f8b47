"""vCPU times of a real QEMU: a guest in its BIOS, which has work for one vCPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.policy.readings import UtilisationReading, utilisation
from tests.hypervisor.test_guest import UUID, Guest, definition
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import libvirt

    from tests.hypervisor.conftest import Recorder
    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig


@pytest.fixture
def hypervisor(session_host: SessionHost, recorder: Recorder) -> Iterator[Hypervisor]:
    hypervisor = Hypervisor(session_host.uri, listener=recorder)
    hypervisor.start()
    recorder.wait_for("connected")
    yield hypervisor
    hypervisor.close(5)


def test_a_vcpu_with_work_is_told_from_one_that_waits(
    hypervisor: Hypervisor,
    session_host: SessionHost,
    open_connection: Callable[[str], libvirt.virConnect],
) -> None:
    guest = Guest(open_connection(session_host.uri))

    def read() -> UtilisationReading:
        return UtilisationReading(time.monotonic(), hypervisor.vcpu_times(UUID))

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
