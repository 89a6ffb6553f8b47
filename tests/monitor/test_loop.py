"""What the loop survives, and what ends it."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.monitor import messages
from tests.monitor.workbench import (
    Workbench,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def test_a_fault_of_ours_costs_one_guest_its_channel_and_no_other(
    bench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.simple()
    bad, good = bench.adopt(number=1), bench.adopt(number=2)
    endpoint = bench.claims.speakers[next(iter(bench.claims.speakers))][1]
    endpoint.receive = None  # type: ignore[assignment]
    bad.sendall(encode(Request(0, MIN)))
    good.sendall(encode(Request(0, DOWN)))
    bench.turn()
    assert receive(good) == encode(Request(0, DOWN))
    assert "TypeError" in capsys.readouterr().err
    closed = messages.EndpointClosed(0, 1, 1, "a fault of ours")
    assert bench.reports == [closed]


def test_main_s_garbage_is_said_and_survived(
    bench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = bench.simple()
    bench.main.send(b"garbage")
    bench.main.send(messages.encode(messages.TakeBack(0)))
    bench.turn()
    assert "garbage" in capsys.readouterr().err
    assert not bench.claims.clocks[0].is_handed_over
    assert bench.ask(guest, encode_connect()) == b""


def test_main_s_end_is_noticed(bench: Workbench) -> None:
    bench.main.close()
    with pytest.raises(EOFError):
        bench.turn()
