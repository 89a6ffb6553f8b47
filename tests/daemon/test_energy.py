# SPDX-License-Identifier: Apache-2.0
"""The energy of a real guest: QEMU's threads, frequencies, and what they save."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest

from orchestrator.control.client import ControlClient
from tests.daemon.daemon_process import DaemonProcess
from tests.rig.guest import GuestSpec
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from orchestrator.control.documents import EnergyOfDomain
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

SPIN_S = 30
TIMEOUT_S = 120.0
CONFIG = """
[energy]
price_per_kwh = 0.3
[[policy]]
match = "web*"
kind = "workload"
workload = "low"
"""


def test_a_guest_at_a_low_frequency_draws_and_saves(
    system_host: SystemHost, tree: CpuTree
) -> None:
    guest = system_host.start(GuestSpec(name="web", channels=(), pins={0: "0"}))

    def find(client: ControlClient) -> EnergyOfDomain | None:
        return next(iter(client.energy()["domains"]), None)

    def saves(client: ControlClient) -> bool:
        energy = find(client)
        return energy is not None and energy["saved_watts"] > 0 < energy["watts"]

    try:
        guest.talker.run("say:up")
        with (
            DaemonProcess(system_host.uri, tree.root, config=CONFIG) as daemon,
            ControlClient(daemon.socket) as client,
        ):
            load = Thread(target=guest.talker.run, args=(f"spin:{SPIN_S * 1000}",))
            load.start()
            wait_for(lambda: saves(client), "energy saved", timeout_s=TIMEOUT_S)
            energy, host = find(client), client.energy()["host"]
            load.join()
            assert energy is not None
            assert host is not None
            assert energy["domain"] == guest.name
            assert energy["saved"]["money"] is not None
            # The simulated CPUs of this host have no meter.
            assert (host["source"], host["modelled"]) == ("modelled", True)
            assert client.domain(guest.name)["energy"] is not None
    finally:
        guest.remove()
