# SPDX-License-Identifier: Apache-2.0
"""The embedded driver boots guests whose ports are connected to plain sockets."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from examples.guests.embed import EmbedRoot
from tests.rig.echo import EchoHost
from tests.rig.embed import prepare_autostart
from tests.rig.guest import GuestSpec

if TYPE_CHECKING:
    from tests.rig.embed import EmbedHost

pytestmark = pytest.mark.rig


def test_a_guest_is_answered_by_any_program_that_connects(
    embed_host: EmbedHost,
) -> None:
    guest = embed_host.start(GuestSpec(name="echo", channels=(0, 3)))
    with EchoHost([guest.channel_path(0), guest.channel_path(3)]) as echo:
        results = guest.talker.run_all("open:0;connect:0;ask:0:3;open:3;ask:3:4:1")
    guest.remove()
    assert [result.split()[0] for result in results] == ["ok", "ok", "ack", "ok", "ack"]
    assert [packet[:3] for packet in echo.packets][1:] == [(0, 3, 1), (1, 4, 1)]


def test_both_sides_count_a_flood(embed_host: EmbedHost) -> None:
    guest = embed_host.start(GuestSpec(name="flood"))
    with EchoHost([guest.channel_path(0)]) as echo:
        guest.talker.run_all("open:0;flood:0:500:34")
        echo.wait_for_packets(200)
        stats = guest.talker.stop(0)
    guest.remove()
    assert stats.sent == stats.acks == len(echo.packets)
    assert echo.units[:4] == [3, 4, 3, 4]
    assert stats.refused == 0


def test_a_guest_without_a_host_is_refused_by_its_kernel(
    embed_host: EmbedHost,
) -> None:
    guest = embed_host.start(
        GuestSpec(name="alone", parameters="talker=open:0;connect:0")
    )
    guest.console.wait_for("= connect:0: EAGAIN")
    guest.remove()


def test_another_process_starts_the_guest_of_a_prepared_root() -> None:
    with EmbedRoot() as root:
        guest = prepare_autostart(
            root, GuestSpec(name="auto", parameters="talker=say:up")
        )
        script = (
            "import libvirt, sys; libvirt.virEventRegisterDefaultImpl(); "
            "connection = libvirt.open(sys.argv[1]); "
            "print([domain.name() for domain in connection.listAllDomains(1)])"
        )
        command = [sys.executable, "-c", script, root.uri]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        guest.console.wait_for("= say: up")
    assert done.stdout == f"['{guest.name}']\n"
