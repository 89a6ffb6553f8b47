# SPDX-License-Identifier: Apache-2.0
"""Onboarding by hand and by rules, with real guests under a real libvirtd."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from cli.app import app
from orchestrator.control.client import ControlClient
from orchestrator.domain_xml.parse import parse_domain
from tests.cli.commands import new_runner
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig.guest import GuestSpec
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.p_states import PStates
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

RULE = '[[onboard]]\nmatch = "{}"\n'


def test_the_daemon_keeps_channels_that_an_operator_added(
    system_host: SystemHost, tree: CpuTree
) -> None:
    """It serves them, and neither new rules nor a resync remove them."""
    guest = system_host.start(GuestSpec(name="hand", channels=(), pins={0: "0"}))
    assert guest.talker.run("say:up") is not None
    with DaemonProcess(
        system_host.uri, tree.root, config=RULE.format("web-*"), resync_s=1.0
    ) as daemon:
        assert vmpower(system_host, "onboard", guest.name) == 0
        daemon.wait_for_channel(guest.name, 0, "open")
        guest.talker.run("open:0")
        text = daemon.config.read_text(encoding="utf-8").replace("web-*", "other-*")
        daemon.config.write_text(text, encoding="utf-8")
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: is_reloaded(daemon), "the rules are reloaded")
        assert guest.talker.request(0, 3) == "ack"
        rights = daemon.domain(guest.name)["rights"]
        assert rights
        expected = {"value": "none", "source": "default", "reason": None}
        assert rights["onboarding"] == expected
        guest.talker.run("close:0")
        assert vmpower(system_host, "offboard", guest.name) == 0
        daemon.wait_for(lambda status: find_channel(status, guest.name, 0) is None)
    guest.remove()


# 30 ports: 27 have another purpose, and one is the rig's.
OTHERS = "".join(
    "<channel type='unix'><source mode='bind'/>"
    f"<target type='virtio' name='other.{number}'/></channel>"
    for number in range(27)
)
CONSOLE = "<console type='pty'><target type='virtio'/></console>"
FULL = GuestSpec(
    name="full",
    channels=(),
    vcpus=3,
    pins={0: "0", 1: "1", 2: "1"},
    memory_mib=256,  # Linux allocates 512 KiB for each port
    machine="pc",
    extra_devices=OTHERS,
)


def test_a_running_guest_uses_a_channel_of_a_controller_that_was_plugged_in(
    system_host: SystemHost, tree: CpuTree
) -> None:
    """Where libvirt can plug one in (Debian 13); otherwise (Debian 12) it waits."""
    can_plug = system_host.can_plug_controllers()
    guest = system_host.start(FULL)
    assert guest.talker.run("say:up") is not None
    with DaemonProcess(
        system_host.uri, tree.root, config=RULE.format("full*"), resync_s=1.0
    ) as daemon:
        for number in (0, 1):
            daemon.wait_for_channel(guest.name, number, "open")
        if can_plug:
            daemon.wait_for_channel(guest.name, 2, "open")
            # The guest's kernel finds the controller a moment later.
            wait_for(lambda: guest.talker.run("open:2") == "ok", "the port is there")
            assert guest.talker.request(2, 3) == "ack"
            assert daemon.domain(guest.name)["problems"] == []
        else:
            (problem,) = daemon.domain(guest.name)["problems"]
            assert "no free port for channel 2 in the running domain" in problem
            assert "cannot be hot plugged" in problem
    guest.remove()


def test_channels_that_do_not_fit_into_a_running_guest_wait_for_its_next_start(
    system_host: SystemHost, tree: CpuTree
) -> None:
    # Beside this console, no running domain may get another controller.
    spec = replace(FULL, extra_devices=CONSOLE + OTHERS)
    guest = system_host.start(spec)
    assert guest.talker.run("say:up") is not None
    with DaemonProcess(
        system_host.uri, tree.root, config=RULE.format("full*"), resync_s=1.0
    ) as daemon:
        for number in (0, 1):
            daemon.wait_for_channel(guest.name, number, "open")
        guest.talker.run("open:1")
        assert guest.talker.request(1, 3) == "ack"
        (problem,) = daemon.domain(guest.name)["problems"]
        assert "no free port for channel 2 in the running domain" in problem
        assert "power it off and start it again" in problem
        log = daemon.log.read_text(encoding="utf-8")
        assert log.count("no free port for channel 2 in the running domain") == 1
        guest.destroy()
        guest.domain.create()
        daemon.wait_for_channel(guest.name, 2, "open")
        assert daemon.domain(guest.name)["problems"] == []
    guest.remove()


def vmpower(host: SystemHost, command: str, name: str) -> int:
    arguments = ("--connect", host.uri, "domain", command, name)
    return new_runner().invoke(app, arguments).exit_code


def is_reloaded(daemon: DaemonProcess) -> bool:
    with ControlClient(daemon.socket) as client:
        return any("reloaded" in event["text"] for event in client.events())


def test_a_rule_gives_a_definition_p_states(
    system_host: SystemHost, tree: CpuTree
) -> None:
    guest = system_host.define(GuestSpec(name="p-states", channels=(), pins={0: "0"}))
    before = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    directory = system_host.guests / guest.name
    rule = RULE.format("p-states*") + (
        f'channels = "none"\np_states = true\n[p_states]\ndirectory = "{directory}"\n'
    )
    with DaemonProcess(system_host.uri, tree.root, config=rule, resync_s=1.0):
        found = wait_for(lambda: next_p_states(guest), "the definition has P-states")
        assert Path(found.file).parent == directory
        assert Path(found.file).is_file()
        guest.start()
        assert parse_domain(guest.domain.XMLDesc()).p_states is not None
        guest.destroy()
    assert vmpower(system_host, "offboard", guest.name) == 0
    after = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert parse_domain(after).p_states is None
    assert after.count("<serial") == before.count("<serial")
    assert not Path(found.file).exists()
    guest.remove()


def next_p_states(guest: Guest) -> PStates | None:
    xml = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return parse_domain(xml).p_states
