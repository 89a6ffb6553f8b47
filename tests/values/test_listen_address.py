# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.values.listen_address import TcpAddress, parse_listen_address


@pytest.mark.parametrize(
    "text", ["127.0.0.1:9723", "192.0.2.7:1", "[::1]:9723", "[2001:db8::7]:65535"]
)
def test_an_address_is_read_and_written(text: str) -> None:
    address = parse_listen_address(text)
    assert isinstance(address, TcpAddress)
    assert str(address) == text


def test_an_absolute_path_is_a_socket() -> None:
    path = parse_listen_address("/run/vmpower/metrics.sock")
    assert path == Path("/run/vmpower/metrics.sock")


@pytest.mark.parametrize(
    "text",
    [
        *("", "9723", ":9723", "localhost:9723", "*:9723", "127.0.0.1"),
        *("127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:+1"),
        *("127.0.0.1:http", "127.0.0.1:\u0661", "::1:9723", "[::1]", "[127.0.0.1]:1"),
        *("metrics.sock", "./metrics.sock", "/run/", "/run/\0", "http://127.0.0.1:1"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid address .*: expected ADDRESS:PORT"):
        parse_listen_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0:9723", "[::]:9723", "224.0.0.1:9723"])
def test_all_addresses_at_once_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected one address of the host"):
        parse_listen_address(text)
