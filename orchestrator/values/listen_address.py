# SPDX-License-Identifier: Apache-2.0
"""Where metrics are served: one TCP address, or the path of a UNIX socket."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

EXPECTED = (
    "ADDRESS:PORT, as in 127.0.0.1:9723 or [::1]:9723, or the absolute path of a socket"
)
_MAX_PORT = 65_535


class TcpAddress(NamedTuple):
    """An address of the host, and a port."""

    ip: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        """Write it as in a URL."""
        is_long = isinstance(self.ip, IPv6Address)
        return f"[{self.ip}]:{self.port}" if is_long else f"{self.ip}:{self.port}"


def parse_listen_address(text: str) -> TcpAddress | Path:
    """Parse an address.

    All addresses of the host at once (0.0.0.0) are refused: there is neither TLS nor a
    password, so each network that may read the metrics has to be named.

    Raises:
        ValueError: it is not one; the message says what is expected.
    """
    if text.startswith("/") and "\0" not in text and not text.endswith("/"):
        return Path(text)
    host, _, port = text.rpartition(":")
    is_long = host.startswith("[") and host.endswith("]")
    try:
        ip = IPv6Address(host[1:-1]) if is_long else IPv4Address(host)
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        number = 0
    if not 0 < number <= _MAX_PORT:
        raise ValueError(f"invalid address '{text}': expected {EXPECTED}")
    ip = ip_address(host.strip("[]"))
    if ip.is_unspecified or ip.is_multicast:
        raise ValueError(
            f"invalid address '{text}': expected one address of the host, not"
            " 0.0.0.0 or ::"
        )
    return TcpAddress(ip, number)
