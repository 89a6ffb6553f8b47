# SPDX-License-Identifier: Apache-2.0
"""The XML element of one poweragent channel.

Source: DPDK's lib/power/guest_channel.c opens
``/dev/virtio-ports/virtio.serial.port.poweragent.<lcore>``; the target name in the
domain XML is that name. The path of the socket is best left to libvirt: without one in
the XML it creates a short-lived path with the right owner and labels, and removes it.
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
    """Read a channel's number from its target name; None: not a poweragent channel.

    Raises:
        DomainXmlError: a poweragent channel whose number no guest can use.
    """
    if not target.startswith(TARGET_PREFIX):
        return None
    digits = target.removeprefix(TARGET_PREFIX)
    if not (digits.isascii() and digits.isdigit()):
        raise DomainXmlError("its name does not end in a number")
    if digits != "0" and digits.startswith("0"):
        raise DomainXmlError("its number has a leading zero, which DPDK never writes")
    if len(digits) > _MAX_DIGITS or int(digits) > MAX_CHANNEL_NUMBER:
        raise DomainXmlError(f"its number is above {MAX_CHANNEL_NUMBER}")
    return int(digits)


def build_target(number: int) -> Target:
    """Return the target name that the guest opens.

    Raises:
        DomainXmlError: a number that no guest can use.
    """
    target = Target(f"{TARGET_PREFIX}{number}")
    parse_channel_number(target)
    return target


def build_channel(number: int, path: str | None = None) -> str:
    """Build the device element of one channel, as text.

    Args:
        number: the channel's number; by DPDK's convention the lcore that uses it.
        path: the socket on the host; None lets libvirt choose, which is better unless
            another program needs a certain path.

    Raises:
        DomainXmlError: a number that no guest can use, or an invalid path.
    """
    return etree.tostring(build_channel_element(number, path), encoding="unicode")


def build_channel_element(number: int, path: str | None = None) -> etree._Element:
    """Build the element of `build_channel`.

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
    """Check that a UNIX socket can have a path.

    Raises:
        DomainXmlError: it is relative or too long, or not valid in XML.
    """
    if not path.startswith("/"):
        raise DomainXmlError(f"socket path '{path}' is not absolute")
    if not path.isprintable():
        raise DomainXmlError(f"socket path {path!r} has unprintable characters")
    length = len(path.encode())
    if length > MAX_SOCKET_PATH_BYTES:
        raise DomainXmlError(
            f"socket path '{path}' has {length} bytes,"
            f" the limit is {MAX_SOCKET_PATH_BYTES}",
            hint="use a shorter directory or a shorter name",
        )
