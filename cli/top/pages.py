"""Pages beside the overview: all warnings and events, the keys and signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import rule
from cli.top.board import Board, warnings
from cli.top.notes import event_line, hanging, note_lines
from cli.top.view import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY_CELLS = 20
_SIGNS = (
    ("2-3", "CPUs that share one clock stand together"),
    ("╭ ╰", "SMT siblings: two clocks, and one core that follows the faster"),
    ("colour, height", "the clock, between the slowest and the fastest step"),
    ("grey", "a clock that the daemon leaves alone"),
    ("!", "the operator's override: 'vmpower cpu release' ends it"),
    ("a b c", "the domain on a CPU; *: more than one, +: no letter left"),
)
_WORDS = (
    ("Wish", "what the guest, or a policy for it, wants; the higher one counts"),
    ("Bounds", "what the host and the domain's rights leave of the steps"),
    ("Set by", "whose word the clock follows now"),
    (
        "Generation",
        "bytes of its packets: 464 from DPDK 18.11 on, 456 from 17.11; 460: 32 bits",
    ),
    ("Late, Dropped", "answers not given: the guest had given up, or does not read"),
    ("Errors", "bytes that were no packet"),
    ("Unread", "requests of a guest so old that it reads no answers"),
)


def warnings_page(board: Board, width: int) -> list[Text]:
    """Show all warnings, then all events, the newest first."""
    notes = note_lines(warnings(board), width) or [Text("none", "dim")]
    return [
        rule(Text("Warnings", "bold"), width),
        *notes,
        Text(),
        rule(Text("Events", "bold"), width),
        *(event_line(board, event) for event in reversed(board.events)),
    ]


def help_page(width: int) -> list[Text]:
    """Show the keys, the signs and the words."""
    return [
        *_entries(KEYS, "bold", width),
        Text(),
        *_entries(_SIGNS, "cyan", width),
        Text(),
        *_entries(_WORDS, "dim", width),
    ]


def _entries(entries: Iterable[tuple[str, str]], style: str, width: int) -> list[Text]:
    """Explain words, each in as many lines as that needs."""
    return [
        line
        for word, meaning in entries
        for line in hanging(Text(f"{word:<{_KEY_CELLS}}", style), meaning, width)
    ]
