# SPDX-License-Identifier: Apache-2.0
"""Events and descriptions of a real QEMU whose guest stays in its BIOS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import DomainGone
from orchestrator.values.domain import DomainId, DomainState
from tests.hypervisor.bios_guest import (
    CONTROLLER,
    LIVE,
    UUID,
    Guest,
    channel,
    definition,
)
from tests.rig.guest import GuestSpec
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from orchestrator.hypervisor.connection import Hypervisor
    from tests.hypervisor.conftest import Recorder
    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig


def test_every_change_of_a_domain_is_reported(
    hypervisor: Hypervisor, guest: Guest, recorder: Recorder
) -> None:
    guest.start(definition())
    recorder.wait_for("changed", UUID, "started")
    guest.domain.pinVcpuFlags(0, (True, False), LIVE)
    recorder.wait_for("changed", UUID, "tuning changed")
    assert hypervisor.describe(UUID).vcpus[0].pinning == {0}
    guest.domain.attachDeviceFlags(channel(0), LIVE)
    recorder.wait_for("changed", UUID, "device channel0 added")
    guest.domain.detachDeviceAlias("channel0", LIVE)
    recorder.wait_for("changed", UUID, "device channel0 removed")
    guest.domain.suspend()
    recorder.wait_for("changed", UUID, "suspended")
    assert hypervisor.describe(UUID).state is DomainState.PAUSED
    guest.domain.resume()
    recorder.wait_for("changed", UUID, "resumed")
    guest.domain.reset()
    recorder.wait_for("rebooted", UUID)
    guest.domain.destroy()
    recorder.wait_for("changed", UUID, "stopped")
    assert hypervisor.describe(UUID).state is DomainState.SHUTOFF
    guest.domain.rename("other")
    recorder.wait_for("changed", UUID, "undefined")
    assert hypervisor.describe(UUID).name == "other"
    guest.domain.undefine()
    recorder.wait_for("changed", UUID, "undefined", times=2)
    with pytest.raises(DomainGone):
        hypervisor.describe(UUID)


def test_a_running_domain_is_described_with_paths_and_aliases(
    hypervisor: Hypervisor, guest: Guest, session_host: SessionHost
) -> None:
    guest.start(definition(CONTROLLER + channel(1)))
    spec = hypervisor.describe(UUID)
    assert spec.state is DomainState.RUNNING
    assert spec.run == guest.domain.ID()
    assert spec.live
    assert spec.live.vcpus - spec.live.present == {0}
    assert spec.live.free_ports == 29
    [only] = spec.channels
    assert only.alias == "channel0"
    assert only.is_guest_connected is False
    assert only.path is not None
    assert only.path.startswith(str(session_host.directory))
    assert Path(only.path).is_socket()


def test_a_vcpu_between_others_can_be_offline(
    hypervisor: Hypervisor, guest: Guest
) -> None:
    guest.start(
        definition(
            vcpus="<vcpu current='2'>3</vcpu><vcpus>"
            "<vcpu id='0' enabled='yes' hotpluggable='no'/>"
            "<vcpu id='1' enabled='no' hotpluggable='yes'/>"
            "<vcpu id='2' enabled='yes' hotpluggable='yes'/></vcpus>"
            "<cputune><vcpupin vcpu='2' cpuset='1'/></cputune>"
        )
    )
    spec = hypervisor.describe(UUID)
    assert {item.vcpu: item.pinning for item in spec.vcpus} == {0: {0, 1}, 2: {1}}


def test_opening_and_closing_of_a_port_is_reported_and_described(
    hypervisor: Hypervisor, recorder: Recorder, session_host: SessionHost
) -> None:
    guest = session_host.start(GuestSpec(name="port"))
    uuid = DomainId(str(guest.uuid))

    def is_connected() -> bool | None:
        [channel] = hypervisor.describe(uuid).channels
        return channel.is_guest_connected

    try:
        [channel] = hypervisor.describe(uuid).channels
        guest.talker.run("open:0")
        recorder.wait_for("port", uuid, channel.alias, "open")
        # libvirt passes the event on before it has changed the description.
        wait_for(lambda: is_connected() is True, "the description of the open port")
        guest.talker.run("close:0")
        recorder.wait_for("port", uuid, channel.alias, "closed")
        wait_for(lambda: is_connected() is False, "the description of the closed port")
    finally:
        guest.remove()


def test_the_report_of_a_port_has_the_time_of_the_change(
    hypervisor: Hypervisor, recorder: Recorder, session_host: SessionHost
) -> None:
    guest = session_host.start(GuestSpec(name="late"))
    uuid = DomainId(str(guest.uuid))
    try:
        [channel] = hypervisor.describe(uuid).channels
        # QEMU delays changes that follow within a second, and reports only the last.
        asked_ns = time.monotonic_ns()
        for deed in ("open", "close", "open", "close"):
            guest.talker.run(f"{deed}:0")
        done_ns = time.monotonic_ns()
        recorder.wait_for("port", uuid, channel.alias, "closed")
        closed = [item for item in recorder.recorded_of("port") if item[3] == "closed"]
    finally:
        guest.remove()
    assert all(asked_ns <= at_ns <= done_ns for *_, at_ns in closed)
