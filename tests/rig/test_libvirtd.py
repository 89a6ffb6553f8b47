# SPDX-License-Identifier: Apache-2.0
"""The tests' libvirtds keep their guests, whatever happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.echo import EchoHost
from tests.rig.guest import GuestSpec

if TYPE_CHECKING:
    from tests.rig.libvirtd import SessionHost, SystemHost

pytestmark = pytest.mark.rig


def test_the_system_libvirtd_starts_a_guest_that_talks(
    system_host: SystemHost,
) -> None:
    guest = system_host.start(GuestSpec(name="system", vcpus=2, pins={0: "0", 1: "1"}))
    with EchoHost([guest.channel_path(0)]):
        results = guest.talker.run_all("open:0;ask:0:3")
    pinning = guest.domain.vcpuPinInfo()
    guest.remove()
    assert results[1].startswith("ack ")
    assert [mask.index(True) for mask in pinning] == [0, 1]


def test_a_killed_session_libvirtd_finds_its_guest_again(
    session_host: SessionHost,
) -> None:
    guest = session_host.start(GuestSpec(name="kept", pins={0: "0"}))
    path = guest.channel_path(0)
    with EchoHost([path]):
        guest.talker.run_all("open:0;flood:0:200")
        session_host.libvirtd.kill()
        session_host.libvirtd.start()
        guest.domain.pinVcpu(0, (False, True))
        stats = guest.talker.stop(0)
    is_active, path_now = guest.domain.isActive(), guest.channel_path(0)
    guest.remove()
    assert is_active
    assert path_now == path
    assert stats.acks == stats.sent > 0


def test_a_frozen_libvirtd_leaves_guests_alone(session_host: SessionHost) -> None:
    guest = session_host.start(GuestSpec(name="frozen"))
    with EchoHost([guest.channel_path(0)]):
        talker = guest.talker
        session_host.libvirtd.freeze()
        results = talker.run_all("open:0;ask:0:3")
        session_host.libvirtd.thaw()
    guest.remove()
    assert results[1].startswith("ack ")
