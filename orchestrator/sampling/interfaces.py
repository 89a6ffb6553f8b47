# SPDX-License-Identifier: Apache-2.0
"""Packets that a domain's interfaces received, from the counters of the host.

Source: Documentation/ABI/testing/sysfs-class-net-statistics of the kernel.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.sampling.contract import SamplingError
from orchestrator.values.domain import InterfaceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orchestrator.values.domain import InterfaceSpec

_COUNTERS = {InterfaceKind.TAP: "tx_packets", InterfaceKind.MACVTAP: "rx_packets"}
"""The counter of the host that counts what the guest receives."""

_NO_INTERFACE = "the domain has no matching network interface"


class InterfaceCounters:
    """The counters of taps, macvtaps and virtual functions.

    Synchronization: none required; it keeps no state.
    """

    def __init__(
        self, sysfs_root: Path, read_virtual_function: Callable[[str], int]
    ) -> None:
        """Open nothing yet.

        Args:
            sysfs_root: /sys or an imitation.
            read_virtual_function: returns the packets received by the virtual
                function at a PCI address; raises SamplingError.
        """
        self._net = sysfs_root / "class" / "net"
        self._read_virtual_function = read_virtual_function

    def find_obstacle(self, interfaces: Iterable[InterfaceSpec]) -> str | None:
        """Return why these interfaces can never be read; None: they can."""
        listed = list(interfaces)
        if not listed:
            return _NO_INTERFACE
        uncounted = [it.mac for it in listed if it.kind is InterfaceKind.UNCOUNTED]
        return _no_counter(", ".join(sorted(uncounted))) if uncounted else None

    def read(self, interfaces: Iterable[InterfaceSpec]) -> dict[str, int]:
        """Return the packets that interfaces have received, by MAC address.

        A virtual function and its failover interface share an address; their packets
        are added.

        Raises:
            SamplingError: one of them has no counter, or there is no interface.
        """
        received: Counter[str] = Counter()
        for spec in interfaces:
            received[spec.mac] += self._read_one(spec)
        if not received:
            raise SamplingError(_NO_INTERFACE)
        return dict(received)

    def _read_one(self, spec: InterfaceSpec) -> int:
        if spec.kind is InterfaceKind.VIRTUAL_FUNCTION and spec.pci is not None:
            return self._read_virtual_function(spec.pci)
        counter = _COUNTERS.get(spec.kind)
        if counter is None or not _is_name(spec.device):
            raise SamplingError(_no_counter(spec.mac))
        path = self._net / str(spec.device) / "statistics" / counter
        try:
            return int(path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise SamplingError(
                f"cannot read the packet counter of {spec.mac}: {error}"
            ) from error


def _no_counter(macs: str) -> str:
    return f"the host has no packet counter for {macs}"


def _is_name(device: str | None) -> bool:
    # The name comes from XML: it must not escape the directory.
    return bool(device) and "/" not in str(device) and device not in (".", "..")
