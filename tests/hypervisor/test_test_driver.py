# SPDX-License-Identifier: Apache-2.0
"""The hypervisor over libvirt's own test driver, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.config import Access
from orchestrator.errors import DomainGone, HypervisorError, HypervisorGone
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.values.domain import (
    ChannelSpec,
    DomainChannels,
    DomainSpec,
    DomainState,
    PCpu,
    Target,
    VCpu,
    VCpuSpec,
)
from tests.hypervisor.driver_domains import DEFINED, NODE, OFF, UUID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hypervisor.conftest import Recorder


@pytest.fixture
def hypervisor(driver_hypervisor: Hypervisor) -> Hypervisor:
    return driver_hypervisor


RUNNING = DomainChannels(
    vcpus=frozenset({VCpu(0), VCpu(1)}), present=frozenset({0}), free_ports=29
)


def cpus(*numbers: int) -> frozenset[PCpu]:
    return frozenset(PCpu(number) for number in numbers)


def connection_of(hypervisor: Hypervisor) -> libvirt.virConnect:
    """The connection itself: each open of a file has its own domains."""
    with hypervisor._using_link() as link:
        return link.connection


def test_a_running_domain_is_described_completely(hypervisor: Hypervisor) -> None:
    assert hypervisor.list_domains() == (UUID,)
    assert hypervisor.describe(UUID) == DomainSpec(
        uuid=UUID,
        name="router",
        state=DomainState.RUNNING,
        run=1,
        vcpus=(
            VCpuSpec(vcpu=VCpu(0), pinning=cpus(3)),
            # The driver knows eight CPUs, and has an empty mask for a ninth.
            VCpuSpec(vcpu=VCpu(1), pinning=frozenset()),
        ),
        channels=(
            ChannelSpec(
                number=0,
                target=Target("virtio.serial.port.poweragent.0"),
                path="/tmp/powermonitor/router.0",
            ),
        ),
        live=RUNNING,
        definition=RUNNING,
        is_pinned=True,
    )


def test_a_domain_that_is_off_is_described_by_its_definition(
    hypervisor: Hypervisor,
) -> None:
    connection_of(hypervisor).defineXML(DEFINED)
    assert hypervisor.describe(OFF) == DomainSpec(
        uuid=OFF,
        name="off",
        state=DomainState.SHUTOFF,
        vcpus=(
            VCpuSpec(vcpu=VCpu(0), pinning=cpus(1, 2)),
            VCpuSpec(vcpu=VCpu(1), pinning=cpus(*range(8))),
        ),
        definition=DomainChannels(vcpus=frozenset({VCpu(0), VCpu(1)})),
        is_pinned=True,
    )


def test_lifecycle_events_are_reported(
    hypervisor: Hypervisor, recorder: Recorder
) -> None:
    domain = connection_of(hypervisor).defineXML(DEFINED)
    recorder.wait_for("changed", OFF, "defined")
    domain.create()
    recorder.wait_for("changed", OFF, "started")
    domain.suspend()
    recorder.wait_for("changed", OFF, "suspended")
    assert hypervisor.describe(OFF).state is DomainState.PAUSED
    domain.resume()
    recorder.wait_for("changed", OFF, "resumed")
    domain.destroy()
    recorder.wait_for("changed", OFF, "stopped")
    domain.undefine()
    recorder.wait_for("changed", OFF, "undefined")


def test_a_change_of_metadata_is_reported(
    hypervisor: Hypervisor, recorder: Recorder
) -> None:
    domain = connection_of(hypervisor).lookupByUUIDString(UUID)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<a/>", "x", "urn:x", 0)
    recorder.wait_for("changed", UUID, "metadata changed")


def test_a_new_pinning_is_described(hypervisor: Hypervisor) -> None:
    connection_of(hypervisor).lookupByUUIDString(UUID).pinVcpu(0, (False, True))
    assert hypervisor.describe(UUID).vcpus[0].pinning == {1}


def test_an_undefined_domain_has_its_own_error(hypervisor: Hypervisor) -> None:
    with pytest.raises(DomainGone):
        hypervisor.describe(OFF)


def test_an_unsupported_change_is_a_refusal_and_not_a_lost_connection(
    hypervisor: Hypervisor,
) -> None:
    with pytest.raises(HypervisorError, match="not supported") as caught:
        hypervisor.attach_channels(UUID, [1], [1])
    assert type(caught.value) is HypervisorError
    assert caught.value.code in {
        libvirt.VIR_ERR_NO_SUPPORT,
        # Newer libvirt attaches some devices, but no channel.
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    }


def test_a_read_only_connection_suffices(tmp_path: Path, recorder: Recorder) -> None:
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    hypervisor = Hypervisor(
        f"test://{node}", post=recorder.post, access=Access.READ_ONLY
    )
    hypervisor.start()
    recorder.wait_for("connected")
    assert hypervisor.describe(UUID).name == "router"
    with pytest.raises(libvirt.libvirtError):
        connection_of(hypervisor).defineXML(DEFINED)
    hypervisor.close(5)


def test_after_closing_calls_fail_and_nothing_is_reported(
    tmp_path: Path, recorder: Recorder
) -> None:
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    hypervisor = Hypervisor(f"test://{node}", post=recorder.post)
    hypervisor.start()
    recorder.wait_for("connected")
    hypervisor.close(5)
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    assert recorder.recorded == [("connected",)]
    assert not hypervisor._thread.is_alive()


def test_a_hypervisor_that_was_never_started_can_be_closed(recorder: Recorder) -> None:
    Hypervisor("test:///default", post=recorder.post).close(0)
    assert recorder.recorded == []


def test_each_reason_to_wait_is_reported_once(
    tmp_path: Path, recorder: Recorder
) -> None:
    node = tmp_path / "node.xml"
    hypervisor = Hypervisor(f"test://{node}", post=recorder.post)
    hypervisor.start()
    recorder.wait_for("waiting")
    node.write_text("<node>")
    recorder.wait_for("waiting", times=2)
    node.write_text(NODE)
    recorder.wait_for("connected")
    reasons = [reason for _, reason in recorder.recorded_of("waiting")]
    assert len(reasons) == len(set(reasons))
    assert hypervisor.reconnects_total == 0
    hypervisor.close(5)


def test_a_driver_that_plugs_in_no_controller_says_why(hypervisor: Hypervisor) -> None:
    assert hypervisor.add_ports(UUID, [0]) == "", "it has a port for this channel"
    assert "not supported" in hypervisor.add_ports(UUID, range(31))
    assert hypervisor.describe(UUID).live == RUNNING
    connection_of(hypervisor).defineXML(DEFINED)
    with pytest.raises(HypervisorError, match="not running"):
        hypervisor.add_ports(OFF, [0])
