"""One poweragent channel as libvirt writes it.

Source: DPDK's lib/power/guest_channel.c opens
``/dev/virtio-ports/virtio.serial.port.poweragent.<lcore>``; the target name in the
domain XML is that name. The socket's path is libvirt's business: without one in the
XML it makes a short-lived path with the right owner and labels, and removes it.
"""

from __future__ import annotations

from lxml import etree

from orchestrator.errors import DomainXmlError
from orchestrator.values.domain import (
    MAX_CHANNEL_NUMBER,
    MAX_SOCKET_PATH_BYTES,
    TARGET_PREFIX,
    Target,
)

_MAX_DIGITS = len(str(MAX_CHANNEL_NUMBER))


def parse_channel_number(target: str) -> int | None:
    """Read a channel's number from its target name; None if it is not ours.

    Raises:
        DomainXmlError: the name begins like ours, but no guest can ask for its number.
    """
    if not target.startswith(TARGET_PREFIX):
        return None
    digits = target.removeprefix(TARGET_PREFIX)
    if not (digits.isascii() and digits.isdigit()):
        raise DomainXmlError("its name does not end in a number")
    if digits != "0" and digits.startswith("0"):
        raise DomainXmlError("its number begins with a zero, which DPDK never writes")
    if len(digits) > _MAX_DIGITS or int(digits) > MAX_CHANNEL_NUMBER:
        raise DomainXmlError(f"its number is above {MAX_CHANNEL_NUMBER}")
    return int(digits)


def build_target(number: int) -> Target:
    """Name a channel as the guest looks for it.

    Raises:
        DomainXmlError: no guest can ask for this number.
    """
    target = Target(f"{TARGET_PREFIX}{number}")
    parse_channel_number(target)
    return target


def build_channel(number: int, path: str | None = None) -> str:
    """Write the device element of one channel.

    Args:
        number: the channel's number; by DPDK's habit the lcore that uses it.
        path: the host side socket; None lets libvirt choose, which is better unless
            another program insists on a path.

    Raises:
        DomainXmlError: no guest can ask for this number, or the path is too long or
            not absolute.
    """
    return etree.tostring(build_channel_element(number, path), encoding="unicode")


def build_channel_element(number: int, path: str | None = None) -> etree._Element:
    """Build the element that `build_channel` writes.

    Raises:
        DomainXmlError: as `build_channel`.
    """
    channel = etree.Element("channel", type="unix")
    source = etree.SubElement(channel, "source", mode="bind")
    if path is not None:
        check_socket_path(path)
        source.set("path", path)
    etree.SubElement(channel, "target", type="virtio", name=build_target(number))
    return channel


def check_socket_path(path: str) -> None:
    """Accept a path that a UNIX socket can have.

    Raises:
        DomainXmlError: it is relative or too long, or XML cannot carry it.
    """
    if not path.startswith("/"):
        raise DomainXmlError(f"socket path '{path}' is not absolute")
    if not path.isprintable():
        raise DomainXmlError(f"socket path {path!r} has unprintable characters")
    length = len(path.encode())
    if length > MAX_SOCKET_PATH_BYTES:
        raise DomainXmlError(
            f"socket path '{path}' has {length} bytes,"
            f" {MAX_SOCKET_PATH_BYTES} is the most",
            hint="use a shorter directory or a shorter name",
        )
