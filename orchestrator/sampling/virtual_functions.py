"""Packets that virtual functions received, from the physical function's driver.

Asked over rtnetlink, as `ip -s link show` does. pyroute2 only makes and understands the
message, and is imported when the first virtual function is met (0.15 s); the socket is
ours, open for one question.

Source: rtnetlink(7); IFLA_VF_STATS in include/uapi/linux/if_link.h. Not tried on
hardware: the understanding is tested on answers in the kernel's form.
"""

from __future__ import annotations

import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sampling.question import SamplingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_WITHIN_S = 1.0
"""The kernel answers at once, unless something holds its lock of all interfaces."""
_LARGEST_ANSWER = 1 << 20
"""Bytes; 256 virtual functions take some 70 KB."""
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_NLM_F_REQUEST = 1
_RTEXT_FILTER_VF = 1


class VirtualFunctionCounters:
    """The counters of virtual functions, by PCI address.

    Synchronization: none required; it keeps no state.
    """

    def __init__(
        self, sysfs_root: Path, ask: Callable[[int], bytes] | None = None
    ) -> None:
        """Prepare to read.

        Args:
            sysfs_root: /sys or an imitation.
            ask: returns the kernel's answer about a physical function, given by its
                interface's index; None: asks the kernel.
        """
        self._devices = sysfs_root / "bus" / "pci" / "devices"
        self._ask = ask_kernel if ask is None else ask

    def read(self, pci: str) -> int:
        """Return the packets that the virtual function at `pci` has received.

        Raises:
            SamplingError: it is none, or its driver does not count.
        """
        try:
            index, number = self._locate(pci)
            received = decode_received(self._ask(index))
        # A file that should hold a number, and a name that should end in one.
        except (OSError, ValueError) as error:
            raise SamplingError(
                f"cannot ask for the packets of {pci}: {error}"
            ) from error
        if number not in received:
            raise SamplingError(f"the driver of {pci} does not count its packets")
        return received[number]

    def _locate(self, pci: str) -> tuple[int, int]:
        """Find the physical function's interface index and our number in it."""
        physical = self._devices / Path(pci).name / "physfn"
        for link in physical.glob("virtfn*"):
            if link.readlink().name == pci:
                number = int(link.name.removeprefix("virtfn"))
                break
        else:
            raise SamplingError(f"{pci} is no virtual function")
        for port in sorted(physical.glob("net/*/ifindex")):
            return int(port.read_text(encoding="ascii")), number
        raise SamplingError(f"the physical function of {pci} has no interface here")


def ask_kernel(index: int) -> bytes:
    """Ask the kernel about an interface and its virtual functions.

    Raises:
        OSError: the kernel does not answer.
        SamplingError: pyroute2 is not installed.
    """
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as sock:
        sock.settimeout(ANSWER_WITHIN_S)
        sock.bind((0, 0))
        sock.send(encode_question(index))
        return sock.recv(_LARGEST_ANSWER)


def encode_question(index: int) -> bytes:
    """Build the request for one interface with its virtual functions."""
    message = _message_type()()
    message["index"] = index
    message["attrs"] = [("IFLA_EXT_MASK", _RTEXT_FILTER_VF)]
    message["header"]["type"] = _RTM_GETLINK
    message["header"]["flags"] = _NLM_F_REQUEST
    message.encode()
    return bytes(message.data)


def decode_received(answer: bytes) -> dict[int, int]:
    """Return the packets that each virtual function has received, by number.

    Raises:
        SamplingError: it is no answer about an interface.
    """
    # A kernel's answer is whole; what is not would only confuse the parser.
    if int.from_bytes(answer[:4], sys.byteorder) != len(answer) or not answer:
        raise SamplingError("the kernel's answer is torn")
    message = _message_type()(answer)
    try:
        message.decode()
        received = dict(_iterate(message))
    except Exception as error:
        # A parser of bytes can raise anything; pyroute2's own errors have no base.
        raise SamplingError(f"the kernel's answer makes no sense: {error}") from error
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
