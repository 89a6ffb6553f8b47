# SPDX-License-Identifier: Apache-2.0
"""Real guests under a real libvirtd: every change of a domain is noticed."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.control.client import ControlClient
from orchestrator.domain_xml import metadata
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.values.domain_settings import DomainSettings
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.guest import AGENT_TARGET, Guest, GuestSpec
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.control.documents import Domain, Status
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

CLOCK = "devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
GOVERNOR = "devices/system/cpu/cpufreq/policy{}/scaling_governor"
MIN, MAX = 4, 3


@pytest.fixture
def daemon(system_daemon: DaemonProcess) -> DaemonProcess:
    return system_daemon


@pytest.fixture
def guest(system_host: SystemHost) -> Iterator[Guest]:
    """A running guest with channel 0, its one vCPU on CPU 0."""
    guest = system_host.start(GuestSpec(name="dpdk", channels=(0,), pins={0: "0"}))
    yield guest
    guest.remove()


def shown(status: Status, guest: Guest) -> Domain | None:
    uuid = str(guest.uuid)
    return next((d for d in status["domains"] if d["uuid"] == uuid), None)


def wait_for_domain(daemon: DaemonProcess, guest: Guest, state: str) -> None:
    def is_shown(status: Status) -> bool:
        domain = shown(status, guest)
        return domain is not None and domain["state"] == state

    daemon.wait_for(is_shown)


def frequency(tree: CpuTree, group: int = 0) -> int | None:
    return tree.read_khz(CLOCK.format(group))


def request(guest: Guest, unit: int, number: int = 0) -> str:
    return guest.talker.request(number, unit)


def test_a_running_guest_is_served_and_its_end_restores_the_governor(
    system_host: SystemHost, tree: CpuTree, guest: Guest
) -> None:
    before = tree.read(GOVERNOR.format(0))
    guest.talker.run("open:0")
    with DaemonProcess(system_host.uri, tree.root, release_after_s=0.3) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open")
        guest.talker.run("connect:0")
        assert request(guest, MIN) == "ack"
        assert frequency(tree) == 1_200_000
        guest.destroy()
        wait_for_domain(daemon, guest, "shut off")
        daemon.wait_for_channel(guest.name, 0, "absent")
        wait_for(lambda: tree.read(GOVERNOR.format(0)) == before, "the governor")


def test_a_guest_that_starts_is_discovered_at_once(
    daemon: DaemonProcess, guest: Guest, tree: CpuTree
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    assert frequency(tree) == 1_200_000


def test_a_paused_domain_keeps_its_vote_which_does_not_count(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    guest.domain.suspend()
    wait_for_domain(daemon, guest, "paused")
    assert find_channel(daemon.status(), guest.name, 0, "open")
    guest.domain.resume()
    wait_for_domain(daemon, guest, "running")
    domain = shown(daemon.status(), guest)
    assert domain
    assert domain["vcpus"][0]["requested_khz"] == 1_200_000


def test_a_qemu_that_is_killed_is_noticed_and_a_new_start_is_served(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    os.kill(guest.pid, signal.SIGKILL)
    wait_for_domain(daemon, guest, "shut off")
    guest.start()
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"


def test_a_reset_ends_the_requests_of_a_guest(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    guest.domain.reset()
    daemon.wait_for(lambda s: requested_khz(s, guest) is None)
    assert find_channel(daemon.status(), guest.name, 0, "open")


def test_a_guest_whose_kernel_panics_is_served_after_its_reboot(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    with contextlib.suppress(ConnectionError):
        guest.talker.run("crash")
    daemon.wait_for(lambda s: requested_khz(s, guest) is None)


def requested_khz(status: Status, guest: Guest) -> int | None:
    domain = shown(status, guest)
    return domain["vcpus"][0]["requested_khz"] if domain else None


def test_a_program_that_closes_its_port_loses_its_vote_at_once(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    assert requested_khz(daemon.status(), guest) == 1_200_000
    guest.talker.run("close:0")
    daemon.wait_for(lambda status: requested_khz(status, guest) is None)


def test_a_renamed_and_an_undefined_domain_are_followed(
    daemon: DaemonProcess, system_host: SystemHost
) -> None:
    guest = system_host.define(GuestSpec(name="dpdk", channels=(0,)))
    wait_for_domain(daemon, guest, "shut off")
    guest.domain.rename(f"{guest.name}-new")
    daemon.wait_for(
        lambda s: (d := shown(s, guest)) and d["name"] == f"{guest.name}-new"
    )
    guest.domain.undefine()
    daemon.wait_for(lambda status: shown(status, guest) is None)


def test_a_plugged_channel_is_opened_at_once_and_forgotten_when_unplugged(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    xml = (
        "<channel type='unix'><source mode='bind'/>"
        f"<target type='virtio' name='{AGENT_TARGET}7'/></channel>"
    )
    guest.talker.run("say:up")  # a kernel that can add and remove devices
    guest.domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    daemon.wait_for_channel(guest.name, 7, "open")
    guest.talker.run("open:7")
    assert request(guest, MAX, 7) in ("ack", "nack")
    guest.talker.run("close:7")
    alias = plugged_alias(guest, 7)
    guest.domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    daemon.wait_for(lambda s: find_channel(s, guest.name, 7) is None)


def plugged_alias(guest: Guest, number: int) -> str:
    part = guest.domain.XMLDesc().split(f"name='{AGENT_TARGET}{number}'")[1]
    return str(part.split("<alias name='")[1].split("'")[0])


def test_a_repinned_vcpu_moves_its_vote_to_its_new_clock_group(
    daemon: DaemonProcess, guest: Guest, tree: CpuTree
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    guest.domain.pinVcpuFlags(0, (False, True), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    daemon.wait_for(lambda s: groups(s, guest) == [1])
    assert request(guest, MIN) == "ack"
    assert frequency(tree, 1) == 1_200_000
    guest.domain.pinVcpuFlags(0, (True, True), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    daemon.wait_for(lambda s: groups(s, guest) == [None])
    assert request(guest, MIN) == "nack"


def groups(status: Status, guest: Guest) -> list[int | None]:
    domain = shown(status, guest)
    return [v["clock_group"] for v in domain["vcpus"]] if domain else []


def test_a_plugged_vcpu_is_discovered_by_the_resync(
    daemon: DaemonProcess, system_host: SystemHost
) -> None:
    spec = GuestSpec(name="dpdk", vcpus=1, max_vcpus=2, pins={0: "0"})
    guest = system_host.start(spec)
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("say:up")
    guest.domain.setVcpusFlags(2, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    guest.domain.pinVcpuFlags(1, (False, True), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    daemon.wait_for(lambda status: groups(status, guest) == [0, 1])
    guest.remove()


def test_the_old_directory_of_dpdk_works_too(
    daemon: DaemonProcess, system_host: SystemHost, tree: CpuTree
) -> None:
    old = system_host.guests / "powermonitor.0"
    spec = GuestSpec(name="dpdk", pins={0: "0"}, paths={0: str(old)})
    guest = system_host.start(spec)
    channel = daemon.wait_for_channel(guest.name, 0, "open")
    assert channel["path"] == str(old)
    guest.talker.run("open:0")
    assert request(guest, MIN) == "ack"
    assert frequency(tree) == 1_200_000
    guest.remove()


def test_a_read_only_connection_is_enough(
    system_host: SystemHost, guest: Guest, tree: CpuTree
) -> None:
    with DaemonProcess(
        system_host.uri, tree.root, access="read-only", resync_s=1.0
    ) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open")
        guest.talker.run("open:0")
        assert request(guest, MIN) == "ack"
        daemon.wait_for(lambda status: requested_khz(status, guest) == 1_200_000)
        # Without the event, only the live XML shows that the port was opened, with
        # QEMU's delay, and then that it is closed.
        wait_for(lambda: is_open(guest), "libvirt shows the open port")
        set_policy(guest, "<policy mode='observe'/>")
        daemon.wait_for(lambda s: (d := shown(s, guest)) and d["mode"] == "observe")
        guest.talker.run("close:0")
        daemon.wait_for(lambda status: requested_khz(status, guest) is None)


def is_open(guest: Guest) -> bool | None:
    [channel] = parse_domain(guest.domain.XMLDesc()).channels
    return channel.is_guest_connected


def test_a_rule_attaches_working_channels_to_a_running_guest(
    system_host: SystemHost, tree: CpuTree
) -> None:
    config = '[[onboard]]\nmatch = "dpdk-*"\n'
    guest = system_host.start(GuestSpec(name="dpdk", channels=(), pins={0: "0"}))
    other = system_host.define(GuestSpec(name="web", channels=()))
    guest.talker.run("say:up")
    with DaemonProcess(
        system_host.uri, tree.root, config=config, resync_s=1.0
    ) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open")
        guest.talker.run("open:0")
        assert request(guest, MIN) == "ack"
        assert frequency(tree) == 1_200_000
        inactive = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert inactive.count(AGENT_TARGET) == 1
        assert AGENT_TARGET not in other.domain.XMLDesc()
        # Without the rule, the channels are removed, also from the definition.
        guest.talker.run("close:0")
        text = daemon.config.read_text(encoding="utf-8").replace("dpdk-*", "other-*")
        daemon.config.write_text(text, encoding="utf-8")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(lambda s: find_channel(s, guest.name, 0) is None)
        wait_for(
            lambda: (
                AGENT_TARGET
                not in guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            ),
            "the definition without the channel",
        )
    guest.remove()
    other.remove()


def test_a_rule_adds_channels_to_a_definition_and_restores_them(
    system_host: SystemHost, tree: CpuTree
) -> None:
    """The domain is off, requests onboarding itself, and is redefined by a tool."""
    config = '[[onboard]]\nmatch = "dpdk-*"\nmetadata = "asks"\n'
    with DaemonProcess(system_host.uri, tree.root, config=config) as daemon:
        guest = system_host.define(GuestSpec(name="dpdk", channels=(), pins={0: "0"}))
        other = system_host.define(GuestSpec(name="dpdk-not", channels=()))
        inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
        bare = guest.domain.XMLDesc(inactive)
        set_policy(guest, "<policy onboard='yes'/>", libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        wait_for(
            lambda: AGENT_TARGET in guest.domain.XMLDesc(inactive),
            "the definition has its channel",
        )
        tool = metadata.set_settings(bare, DomainSettings(onboard=True))
        guest.domain.connect().defineXML(tool)
        wait_for(
            lambda: AGENT_TARGET in guest.domain.XMLDesc(inactive),
            "the definition has its channel again",
        )
        guest.domain.create()
        daemon.wait_for_channel(guest.name, 0, "open")
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | libvirt.VIR_DOMAIN_AFFECT_LIVE
        set_policy(guest, "<policy onboard='no'/>", flags)
        daemon.wait_for(lambda s: find_channel(s, guest.name, 0) is None)
        wait_for(
            lambda: AGENT_TARGET not in guest.domain.XMLDesc(inactive),
            "the definition without the channel",
        )
        assert AGENT_TARGET not in other.domain.XMLDesc(inactive)
    guest.remove()
    other.remove()


def test_a_setting_written_by_virsh_metadata_applies_at_once(
    daemon: DaemonProcess, guest: Guest, tree: CpuTree
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    guest.talker.run("open:0")
    assert request(guest, MAX) == "ack"
    assert frequency(tree) == 3_001_000
    set_policy(guest, "<policy max='2GHz' turbo='perhaps'/>")
    wait_for(lambda: frequency(tree) == 2_000_000, "the new limit")
    domain = shown(daemon.status(), guest)
    assert domain
    assert domain["rights"]
    assert domain["rights"]["max_khz"] == {"value": 2_000_000, "source": "metadata"}
    assert any("perhaps" in problem for problem in domain["problems"])
    set_policy(guest, "<policy mode='observe'/>")
    daemon.wait_for(lambda s: (d := shown(s, guest)) and d["mode"] == "observe")
    assert request(guest, MIN) == "nack"


def set_policy(
    guest: Guest, xml: str, flags: int = libvirt.VIR_DOMAIN_AFFECT_LIVE
) -> None:
    guest.domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
        xml,
        "vmpower",
        "urn:vmpower:domain:1",
        flags,
    )


def test_the_events_of_a_domain_are_reported_in_order(
    daemon: DaemonProcess, guest: Guest
) -> None:
    daemon.wait_for_channel(guest.name, 0, "open")
    with ControlClient(daemon.socket) as client:
        events = list(client.events())
    texts = [event["text"] for event in events if event["domain"] == guest.name]
    # libvirt starts it paused; its socket exists by then.
    assert texts[0].startswith("domain is ")
    assert "channel 0 is open" in texts
