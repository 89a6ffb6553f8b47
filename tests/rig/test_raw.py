# SPDX-License-Identifier: Apache-2.0
"""A guest without libvirt is served by any program that connects to its port."""

from __future__ import annotations

import pytest

from tests.rig.echo import EchoHost
from tests.rig.raw import RawGuest

pytestmark = pytest.mark.rig


def test_every_statement_of_the_talker_works() -> None:
    with RawGuest() as guest, EchoHost(guest.paths) as echo:
        run = guest.talker.run
        assert run("send:0:5") == "not open"
        assert guest.talker.run_all("open:0;connect:0;send:0:5") == ["ok", "ok", "ok"]
        assert run("burst:0:612") == "ok"
        assert run("stop:0").startswith("sent=4 acks=4 nacks=0 ")
        assert run("ask:0:3:1").startswith("ack ")
        assert run("raw:0:00ff:2") == "ok"
        assert guest.talker.run_all("close:0;what:0;say:good bye") == [
            *("ok", "not open", "good bye")
        ]
    assert [packet[:3] for packet in echo.packets[1:]] == [
        *((0, 5, 1), (0, 6, 1), (0, 1, 1), (0, 2, 1), (1, 3, 1))
    ]
