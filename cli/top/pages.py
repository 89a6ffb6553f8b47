# SPDX-License-Identifier: Apache-2.0
"""Pages beside the overview: warnings and events, help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import rule
from cli.top.notes import event_line, note_lines, wrap_after
from cli.top.snapshot import Snapshot, warnings
from cli.top.view import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY_CELLS = 20
_SYMBOLS = (
    ("2-3", "the CPUs of a clock group"),
    ("╭ ╰", "SMT siblings in two clock groups; the core runs at the higher frequency"),
    ("color, height", "frequency, from the lowest to the highest step"),
    ("gray", "not controlled by vmpowerd"),
    ("!", "overridden; release with 'vmpower cpu release'"),
    ("a b c", "the domain on a CPU; *: several, +: out of letters"),
)
_TERMS = (
    ("Requested", "frequency requested by the guest or a policy, the higher of them"),
    ("Bounds", "frequencies allowed by the settings of the host and the domain"),
    ("Set by", "what determines the current frequency"),
    (
        "Generation",
        "packet size in bytes: 464 since DPDK 18.11, 456 since 17.11; 460: 32-bit",
    ),
    ("Late, Dropped", "answers not delivered: the guest timed out, or does not read"),
    ("Errors", "malformed packets"),
    ("Unread", "requests from old guests, which read no answers"),
)


def warnings_page(snapshot: Snapshot, width: int) -> list[Text]:
    """Show all warnings and all events, the newest first."""
    notes = note_lines(warnings(snapshot), width) or [Text("none", "dim")]
    return [
        rule(Text("Warnings", "bold"), width),
        *notes,
        Text(),
        rule(Text("Events", "bold"), width),
        *(event_line(snapshot, event) for event in reversed(snapshot.events)),
    ]


def help_page(width: int) -> list[Text]:
    """Explain the keys, symbols and terms."""
    return [
        *_entries(KEYS, "bold", width),
        Text(),
        *_entries(_SYMBOLS, "cyan", width),
        Text(),
        *_entries(_TERMS, "dim", width),
    ]


def _entries(entries: Iterable[tuple[str, str]], style: str, width: int) -> list[Text]:
    """Format terms and their meanings as wrapped lines."""
    return [
        line
        for term, meaning in entries
        for line in wrap_after(Text(f"{term:<{_KEY_CELLS}}", style), meaning, width)
    ]
