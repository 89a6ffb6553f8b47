"""A guest without libvirt talks to whoever connects to its port."""

from __future__ import annotations

import pytest

from tests.rig.echo import EchoHost
from tests.rig.raw import RawGuest

pytestmark = pytest.mark.rig


def test_every_word_of_the_talker_does_what_it_says() -> None:
    with RawGuest() as guest, EchoHost(guest.paths) as echo:
        tell = guest.talker.tell
        assert tell("send:0:5") == "not open"
        assert guest.talker.tell_all("open:0;connect:0;send:0:5") == ["ok", "ok", "ok"]
        assert tell("burst:0:612") == "ok"
        assert tell("stop:0").startswith("sent=4 acks=4 nacks=0 ")
        assert tell("ask:0:3:1").startswith("ack ")
        assert tell("raw:0:00ff:2") == "ok"
        assert guest.talker.tell_all("close:0;what:0;say:good bye") == [
            *("ok", "not open", "good bye")
        ]
    assert [packet[:3] for packet in echo.packets[1:]] == [
        *((0, 5, 1), (0, 6, 1), (0, 1, 1), (0, 2, 1), (1, 3, 1))
    ]
