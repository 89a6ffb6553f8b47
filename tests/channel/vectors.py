# SPDX-License-Identifier: Apache-2.0
"""Whole packets, written by compiled DPDK programs."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).parents[1] / "data" / "packet-vectors.txt"
"""One per line: name, length, bytes. G1 to G4 are the generations of 16, 456 and 464
bytes, and 464 bytes with answers."""


def read_vectors() -> dict[str, bytes]:
    """Return the packets by name."""
    lines = (line.split() for line in FILE.read_text().splitlines() if line)
    return {name: bytes.fromhex(text) for name, _, text in lines}
