# SPDX-License-Identifier: Apache-2.0
"""The guest's library reads the energy of its domain from a real daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import AnswerMissing, RequestRefused
from orchestrator.guest.clock import VCpuClock
from orchestrator.guest.port import Port
from tests.daemon.test_rights import set_rule
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.guest.energy import Energy
    from tests.daemon.daemon_process import DaemonProcess
    from tests.daemon.libvirt_test_guests import GuestEnd

TIMEOUT_S = 1.0


@pytest.fixture
def clock(ends: list[GuestEnd]) -> Iterator[VCpuClock]:
    """The library on the guest's end of channel 0."""
    port = Port(os.dup(ends[0].peer.fileno()))
    with VCpuClock(0, timeout_s=TIMEOUT_S, port=port) as clock:
        yield clock


def read(clock: VCpuClock) -> Energy | None:
    """Query once; None: refused, or the answer would have been late."""
    try:
        return clock.query_energy()
    except (AnswerMissing, RequestRefused):
        return None


def test_a_guest_reads_its_energy_while_it_may(
    daemon: DaemonProcess, clock: VCpuClock
) -> None:
    first = wait_for(lambda: read(clock), "figures")
    # Its domain has no process, and the host no meter: it draws nothing.
    assert (first.watts, first.joules_total, first.source) == (0.0, 0.0, "modelled")

    def is_later() -> bool:
        energy = read(clock)
        return energy is not None and energy.seconds > first.seconds

    wait_for(is_later, "later figures")
    set_rule(daemon, "energy_queries = false")

    def is_refused() -> bool:
        channel = daemon.domain("dpdk-0")["channels"][0]
        return read(clock) is None and "energy-forbidden" in channel["nack_reasons"]

    wait_for(is_refused, "a refusal")
    set_rule(daemon, "")
    wait_for(lambda: read(clock), "figures again")
