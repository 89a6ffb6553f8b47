"""What `vmpower-guest` writes: lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.guest.asks import VCpuAbilities

_GAP = "   "


class Reporter:
    """Writes to standard output in the form that was asked for.

    Synchronization: one thread.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def tell(self, text: str, **facts: object) -> None:
        """Write one line: the text, or the facts."""
        line = json.dumps(facts) if self.is_json else text
        sys.stdout.write(f"{line}\n")
        # Somebody may read along, through a pipe.
        sys.stdout.flush()

    def show_clocks(self, clocks: Mapping[int, int | None]) -> None:
        """Write the clock of each vCPU."""
        self._show(
            ("vCPU", "Clock"),
            [(str(vcpu), format_khz(khz)) for vcpu, khz in clocks.items()],
            [{"vcpu": vcpu, "khz": khz} for vcpu, khz in clocks.items()],
        )

    def show_abilities(self, abilities: Mapping[int, VCpuAbilities]) -> None:
        """Write what the CPU of each vCPU can do."""
        self._show(
            ("vCPU", "Turbo", "Priority"),
            [
                (str(v), _word(a.has_turbo), _word(a.is_priority))
                for v, a in abilities.items()
            ],
            [{"vcpu": vcpu, **able._asdict()} for vcpu, able in abilities.items()],
        )

    def _show(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        documents: Sequence[Mapping[str, object]],
    ) -> None:
        if self.is_json:
            sys.stdout.write(json.dumps({"vcpus": documents}, indent=2) + "\n")
            return
        columns = list(zip(heads, *rows))
        widths = [max(map(len, column)) for column in columns]
        lines = [align(row, widths) for row in (heads, *rows)]
        rule = "-" * (max(map(len, lines)) + 1)
        sys.stdout.write("\n".join([lines[0], rule, *lines[1:], ""]))


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Put cells into columns, as virsh does."""
    padded = (cell.ljust(width) for cell, width in zip(cells, widths))
    return f" {_GAP.join(padded).rstrip()}"


def _word(is_so: bool) -> str:  # noqa: FBT001 - a yes or a no is what it writes
    return "yes" if is_so else "no"


def warn(message: str, hint: str = "") -> None:
    """Write what is wrong, and the cure if it is known, to standard error."""
    sys.stderr.write(f"{message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
    sys.stderr.flush()
