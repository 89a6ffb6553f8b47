# SPDX-License-Identifier: Apache-2.0
"""The control API over real sockets: requests, failures and streams."""

from __future__ import annotations

import http.client
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.control import BODY_LIMIT_BYTES, CONTROL_SOCKET
from orchestrator.control.client import (
    AccessDenied,
    ControlClient,
    DaemonUnreachable,
)
from orchestrator.control.service import Peer
from orchestrator.errors import ControlError
from orchestrator.system.service_unit import start_command
from orchestrator.values.event_kinds import GRANT
from tests.control.fake_host import FIREWALL

if TYPE_CHECKING:
    from tests.control.fake_daemon import FakeDaemon


def send(
    run_dir: Path, method: str, target: str, body: bytes | None = None
) -> tuple[int, Any]:
    """Send a request without the client of this package."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(run_dir / CONTROL_SOCKET))
    try:
        connection.request(method, target, body=body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


CLOCK = "/v1/cpus/2/clock"


def test_the_status_is_that_of_the_backend(
    reader: ControlClient, daemon: FakeDaemon
) -> None:
    expected = daemon.picture().model_dump(mode="json", by_alias=True)
    assert reader.status() == expected


@pytest.mark.parametrize("domain", ["dpdk-fw", FIREWALL, FIREWALL.upper(), "1"])
def test_a_domain_is_found_by_name_uuid_or_id(
    reader: ControlClient, domain: str
) -> None:
    assert reader.domain(domain)["uuid"] == FIREWALL


@pytest.mark.parametrize("domain", ["nobody", "7", "a/b", "ü ?#%"])
def test_an_unknown_domain_is_not_found(reader: ControlClient, domain: str) -> None:
    with pytest.raises(ControlError, match="no such domain") as caught:
        reader.domain(domain)
    assert caught.value.status == 404
    assert domain in str(caught.value)
    assert "domain list" in caught.value.hint


def test_channels_are_listed_with_their_domains(reader: ControlClient) -> None:
    listed = [
        (c["domain"], c["number"], c["state"]) for c in reader.channels()["channels"]
    ]
    assert listed == [
        ("dpdk-fw", 0, "open"),
        ("dpdk-fw", 1, "open"),
        ("dpdk-fw", 2, "open"),
        ("dpdk-router", 0, "disabled"),
        ("dpdk-router", 1, "contended"),
        ("dpdk-router", 9, "open"),
    ]


def test_cpus_that_cannot_be_set_are_listed_with_the_reason(
    reader: ControlClient,
) -> None:
    assert reader.cpus()["unmanaged_cpus"] == [{"pcpu": 6, "reason": "offline"}]


def test_the_backend_is_given_the_client_s_credentials(
    client: ControlClient, daemon: FakeDaemon
) -> None:
    client.override(2, 2_000_000)
    assert daemon.callers == [Peer(os.getpid(), os.getuid(), os.getgid())]


def test_a_failure_of_the_backend_is_reported_with_its_hint(
    client: ControlClient,
) -> None:
    with pytest.raises(ControlError, match="claimed by another") as caught:
        client.override(4, 2_000_000)
    assert (caught.value.status, caught.value.hint) == (409, "stop the other one")


def test_the_read_only_socket_rejects_changes(
    reader: ControlClient, daemon: FakeDaemon
) -> None:
    with pytest.raises(ControlError, match="read-only") as caught:
        reader.override(2, 2_000_000)
    assert caught.value.status == 403
    assert daemon.callers == []


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Invalid JSON"),
        (b"{", 400, "Invalid JSON"),
        (b"\xff\xfe", 400, "Invalid JSON"),
        (b"[" * 10_000, 400, "Invalid JSON"),
        (b"[]", 422, "object"),
        (b"{}", 422, "khz: Field required"),
        (b'{"khz": "2000000"}', 422, "khz: Input should be a valid integer"),
        (b'{"khz": true}', 422, "khz: Input should be a valid integer"),
        (b'{"khz": 2.0}', 422, "khz: Input should be a valid integer"),
        (b'{"khz": 0}', 422, "khz: Input should be greater than 0"),
        (b'{"khz": 1, "mhz": 2}', 422, "mhz: Extra inputs are not permitted"),
    ],
)
def test_an_invalid_body_is_rejected(
    tmp_path: Path, body: bytes, status: int, message: str
) -> None:
    got, answer = send(tmp_path, "PUT", CLOCK, body)
    assert (got, sorted(answer["error"])) == (status, ["hint", "message"])
    assert message in answer["error"]["message"]


@pytest.mark.usefixtures("daemon")
def test_a_body_above_the_limit_is_rejected(tmp_path: Path) -> None:
    body = b'{"khz": 1' + b" " * BODY_LIMIT_BYTES + b"}"
    status, answer = send(tmp_path, "PUT", CLOCK, body)
    assert (status, "too large" in answer["error"]["message"]) == (413, True)


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/v1/status", 405),
        ("GET", "/v1/cpus/two", 400),
        ("GET", "/v1/cpus/-1", 400),
        ("GET", "/v1/cpus/9999999999999999999", 400),
        ("GET", "/v1/events?follow=maybe", 400),
        ("GET", "/v1/events?until=true", 400),
        ("GET", "/v1/events?since=2026-03-01T12:00", 400),
        ("GET", "/v1/events?kind=policy,telepathy", 400),
        ("GET", "/v1/events?after=-1", 400),
        ("GET", "/v1/events?follow=true&until=2026-03-01T12:00:00Z", 400),
        ("GET", "/v1/events?domain=nothing", 404),
        ("GET", "/v1/events?before=1", 400),
        ("GET", "/v1/status?x=1", 400),
    ],
)
def test_an_invalid_request_is_rejected_with_a_document(
    tmp_path: Path, method: str, target: str, status: int
) -> None:
    got, answer = send(tmp_path, method, target)
    assert (got, list(answer)) == (status, ["error"])


@pytest.mark.usefixtures("daemon")
def test_an_unknown_call_is_named(tmp_path: Path) -> None:
    _, answer = send(tmp_path, "DELETE", "/v1/status?x=1")
    assert answer["error"]["message"] == "no such call: DELETE /v1/status"
    assert "/openapi.json" in answer["error"]["hint"]


def test_recent_events_are_sent_oldest_first_and_end(reader: ControlClient) -> None:
    events = list(reader.events())
    assert [event["text"] for event in events] == [
        "dpdk-fw is running",
        "channel 0 is open",
    ]
    assert events[0]["time"] == "2026-03-01T12:00:00Z"


def test_a_follower_receives_the_next_event(
    reader: ControlClient, client: ControlClient
) -> None:
    events = reader.events(follow=True)
    assert [next(events)["text"] for _ in range(2)][-1] == "channel 0 is open"
    client.override(2, 2_000_000)
    assert next(events)["text"] == "clock group 2 set to 2200000 kHz"


@pytest.mark.parametrize("rest", ["", "3\r\n{", "0\r\n\r\n"])
def test_a_stream_that_breaks_off_is_a_failure_and_no_end(
    tmp_path: Path, rest: str
) -> None:
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    line = '{"text": "1"}\n'
    answer = f"{head}{len(line):x}\r\n{line}\r\n{rest}"
    is_whole = rest.startswith("0")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        events = ControlClient(tmp_path / "s").events(follow=True)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(next, events)
            peer = listener.accept()[0]
            with peer:
                peer.recv(1000)
                peer.sendall(answer.encode())
            assert first.result()["text"] == "1"
    with pytest.raises(StopIteration if is_whole else DaemonUnreachable):
        next(events)


def test_events_are_selected_in_the_query(
    daemon: FakeDaemon, reader: ControlClient
) -> None:
    first, second = reader.events()
    daemon.report("policy", "of the past", domain="undefined")
    assert [e["text"] for e in reader.events(after=first["id"], last=1)] == [
        "of the past"
    ]
    assert [e["text"] for e in reader.events(domain="undefined")] == ["of the past"]
    assert [e["text"] for e in reader.events(domain="dpdk-fw", last=1)] == [
        second["text"]
    ]
    assert list(reader.events(kind="group,cpus")) == []
    since = "2026-03-01T14:00:01+02:00"  # the sign must not arrive as a space
    assert [e["id"] for e in reader.events(since=since, kind="channel-state")] == [
        second["id"]
    ]


def test_frequency_changes_can_be_left_out_of_the_events(
    daemon: FakeDaemon, reader: ControlClient
) -> None:
    daemon.report(GRANT, "CPUs 2 at 2.20 GHz")
    assert len(list(reader.events())) == 3
    assert len(list(reader.events(clocks=False))) == 2


def test_a_missing_socket_means_an_unreachable_daemon(tmp_path: Path) -> None:
    with (
        pytest.raises(DaemonUnreachable, match="no vmpowerd answers") as caught,
        ControlClient(tmp_path / "nothing.sock") as client,
    ):
        client.status()
    assert f"start it with '{start_command()}'" in caught.value.hint


def test_a_daemon_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        client = ControlClient(tmp_path / "silent.sock", timeout_s=0.05)
        with client, pytest.raises(DaemonUnreachable, match="does not answer"):
            client.status()


def test_a_permission_error_is_access_denied() -> None:
    error = ControlClient(Path("/x"))._error_of(PermissionError(13, "no"))
    assert isinstance(error, AccessDenied)
    assert error.status == 403
