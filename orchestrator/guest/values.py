# SPDX-License-Identifier: Apache-2.0
"""Parses the values on the command line of `vmpower-guest`."""

from __future__ import annotations

import argparse
from typing import Callable

from orchestrator.guest.policies import MAC_BYTES

MAX_VCPU = 4095


def parse_numbers(highest: int) -> Callable[[str], list[int]]:
    """Return a parser of lists such as ``0,2-5``, of numbers up to `highest`."""

    def parse(text: str) -> list[int]:
        numbers: list[int] = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            if not _is_number(first) or (dash and not _is_number(last)):
                raise argparse.ArgumentTypeError(
                    f"invalid list '{text}': expected numbers such as 0,2-5"
                )
            begin, end = int(first), int(last or first)
            if begin > end or end > highest:
                raise argparse.ArgumentTypeError(
                    f"invalid range '{part}': expected numbers within 0-{highest}"
                )
            numbers += range(begin, end + 1)
        return sorted(set(numbers))

    return parse


def parse_vcpu(text: str) -> int:
    """Parse the number of a vCPU."""
    if not _is_number(text) or int(text) > MAX_VCPU:
        raise argparse.ArgumentTypeError(
            f"invalid vCPU '{text}': expected 0 to {MAX_VCPU}"
        )
    return int(text)


def parse_mac(text: str) -> bytes:
    """Parse a MAC address such as ``52:54:00:12:34:56``."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != MAC_BYTES or text.count(":") != MAC_BYTES - 1:
        raise argparse.ArgumentTypeError(
            f"invalid MAC address '{text}': expected 52:54:00:12:34:56"
        )
    return mac


def parse_share(text: str) -> float:
    """Parse a share such as ``0.8`` or ``80%``."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"invalid share '{text}': expected 0.8 or 80%")
    return share


def parse_seconds(text: str) -> float:
    """Parse a time in seconds, more than 0 and at most a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(
            f"invalid time '{text}': expected seconds, up to 86400"
        )
    return seconds


def parse_count(text: str) -> int:
    """Parse a count that fits into 32 bits."""
    if not _is_number(text) or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(
            f"invalid count '{text}': expected 0 to {(1 << 32) - 1}"
        )
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
