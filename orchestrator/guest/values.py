"""The values on the command line of `vmpower-guest`, read from text."""

from __future__ import annotations

import argparse
from typing import Callable

from orchestrator.guest.policies import MAC_BYTES

MOST_VCPU = 4095


def parse_numbers(most: int) -> Callable[[str], list[int]]:
    """Return a reader of lists such as ``0,2-5``, of numbers up to `most`."""

    def parse(text: str) -> list[int]:
        numbers: list[int] = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            if not _is_number(first) or (dash and not _is_number(last)):
                raise argparse.ArgumentTypeError(f"'{text}' is no list such as 0,2-5")
            begin, end = int(first), int(last or first)
            if begin > end or end > most:
                raise argparse.ArgumentTypeError(f"'{part}' is not within 0-{most}")
            numbers += range(begin, end + 1)
        return sorted(set(numbers))

    return parse


def parse_vcpu(text: str) -> int:
    """Read the number of one vCPU."""
    if not _is_number(text) or int(text) > MOST_VCPU:
        raise argparse.ArgumentTypeError(f"'{text}' is no vCPU (0 to {MOST_VCPU})")
    return int(text)


def parse_mac(text: str) -> bytes:
    """Read a MAC address such as ``52:54:00:12:34:56``."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != MAC_BYTES or text.count(":") != MAC_BYTES - 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no MAC address")
    return mac


def parse_share(text: str) -> float:
    """Read a share of time such as ``0.8`` or ``80%``."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no share: write 0.8 or 80%")
    return share


def parse_seconds(text: str) -> float:
    """Read a time in seconds, more than 0 and at most a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"'{text}' is no time in seconds")
    return seconds


def parse_count(text: str) -> int:
    """Read a count of packets that the wire has room for."""
    if not _is_number(text) or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"'{text}' is no count (0 to {(1 << 32) - 1})")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
