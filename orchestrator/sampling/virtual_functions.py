# SPDX-License-Identifier: Apache-2.0
"""Packets that virtual functions received, from the physical function's driver.

Read over rtnetlink, as `ip -s link show` does. pyroute2 only encodes and decodes the
messages, and is imported for the first virtual function (0.15 s); the socket belongs to
this module and is open for one request.

Source: rtnetlink(7); IFLA_VF_STATS in include/uapi/linux/if_link.h. Not tried on
hardware: decoding is tested on replies in the kernel's format.
"""

from __future__ import annotations

import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sampling.contract import SamplingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPLY_WITHIN_S = 1.0
"""The kernel replies at once, unless something holds its lock of all interfaces."""
_LARGEST_REPLY = 1 << 20
"""Bytes; 256 virtual functions take some 70 KB."""
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_NLM_F_REQUEST = 1
_RTEXT_FILTER_VF = 1


class VirtualFunctionCounters:
    """The counters of virtual functions, by PCI address.

    Synchronization: none required; it keeps no state.
    """

    def __init__(
        self, sysfs_root: Path, query: Callable[[int], bytes] | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            sysfs_root: /sys or an imitation.
            query: returns the kernel's reply about a physical function, given by the
                index of its interface; None: queries the kernel.
        """
        self._devices = sysfs_root / "bus" / "pci" / "devices"
        self._query = query_kernel if query is None else query

    def read(self, pci: str) -> int:
        """Return the packets that the virtual function at `pci` has received.

        Raises:
            SamplingError: it is not a virtual function, or its driver has no counters.
        """
        try:
            index, number = self._locate(pci)
            received = decode_received(self._query(index))
        # ValueError: a file without a number, a name that does not end in one.
        except (OSError, ValueError) as error:
            raise SamplingError(
                f"cannot read the packet counter of {pci}: {error}"
            ) from error
        if number not in received:
            raise SamplingError(f"the driver of {pci} has no packet counters")
        return received[number]

    def _locate(self, pci: str) -> tuple[int, int]:
        """Return the interface index of the physical function, and the number in it."""
        physical = self._devices / Path(pci).name / "physfn"
        for link in physical.glob("virtfn*"):
            if link.readlink().name == pci:
                number = int(link.name.removeprefix("virtfn"))
                break
        else:
            raise SamplingError(f"not a virtual function: {pci}")
        for port in sorted(physical.glob("net/*/ifindex")):
            return int(port.read_text(encoding="ascii")), number
        raise SamplingError(f"the physical function of {pci} has no network interface")


def query_kernel(index: int) -> bytes:
    """Request an interface and its virtual functions from the kernel.

    Raises:
        OSError: the kernel does not reply.
        SamplingError: pyroute2 is not installed.
    """
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as sock:
        sock.settimeout(REPLY_WITHIN_S)
        sock.bind((0, 0))
        sock.send(encode_request(index))
        return sock.recv(_LARGEST_REPLY)


def encode_request(index: int) -> bytes:
    """Build the request for one interface with its virtual functions."""
    message = _message_type()()
    message["index"] = index
    message["attrs"] = [("IFLA_EXT_MASK", _RTEXT_FILTER_VF)]
    message["header"]["type"] = _RTM_GETLINK
    message["header"]["flags"] = _NLM_F_REQUEST
    message.encode()
    return bytes(message.data)


def decode_received(reply: bytes) -> dict[int, int]:
    """Return the packets that each virtual function has received, by number.

    Raises:
        SamplingError: it is not a reply about an interface.
    """
    # The kernel replies with whole messages; the parser assumes it.
    if int.from_bytes(reply[:4], sys.byteorder) != len(reply) or not reply:
        raise SamplingError("the reply of the kernel is incomplete")
    message = _message_type()(reply)
    try:
        message.decode()
        received = dict(_iterate(message))
    except Exception as error:
        # The parser can raise anything; errors of pyroute2 have no common base.
        raise SamplingError(f"invalid reply of the kernel: {error}") from error
    if message["header"]["type"] != _RTM_NEWLINK:
        raise SamplingError("the kernel does not know the physical function")
    return received


def _iterate(message: Any) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - no types
    listing = message.get_attr("IFLA_VFINFO_LIST")
    for function in listing.get_attrs("IFLA_VF_INFO") if listing else ():
        mac, counters = (function.get_attr(f"IFLA_VF_{x}") for x in ("MAC", "STATS"))
        packets = counters and counters.get_attr("IFLA_VF_STATS_RX_PACKETS")
        if mac is not None and packets is not None:
            yield mac["vf"], packets


def _message_type() -> Any:  # noqa: ANN401 - pyroute2 has no types
    try:
        return import_module("pyroute2.netlink.rtnl.ifinfmsg").ifinfmsg
    except ImportError as error:
        raise SamplingError("pyroute2 is not installed") from error
