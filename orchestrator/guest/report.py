# SPDX-License-Identifier: Apache-2.0
"""The output of `vmpower-guest`: text or JSON."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.values.quantities import format_joules, format_watts
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.guest.calls import VCpuCapabilities
    from orchestrator.guest.energy import Energy

_GAP = "   "


class Reporter:
    """Writes results to standard output, in the selected format.

    Synchronization: one thread.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def write(self, text: str, **facts: object) -> None:
        """Write one line: the text, or the facts as JSON."""
        line = json.dumps(facts) if self.is_json else text
        sys.stdout.write(f"{line}\n")
        # The reader of a pipe may be waiting for it.
        sys.stdout.flush()

    def show_frequencies(self, frequencies: Mapping[int, int | None]) -> None:
        """Write the frequency of each vCPU."""
        self._show(
            ("vCPU", "Frequency"),
            [(str(vcpu), format_khz(khz)) for vcpu, khz in frequencies.items()],
            [{"vcpu": vcpu, "khz": khz} for vcpu, khz in frequencies.items()],
        )

    def show_capabilities(self, capabilities: Mapping[int, VCpuCapabilities]) -> None:
        """Write the capabilities of each vCPU."""
        self._show(
            ("vCPU", "Turbo", "Priority"),
            [
                (str(v), _yes_no(a.has_turbo), _yes_no(a.is_priority))
                for v, a in capabilities.items()
            ],
            [
                {"vcpu": vcpu, **capability._asdict()}
                for vcpu, capability in capabilities.items()
            ],
        )

    def show_energy(self, energy: Energy) -> None:
        """Write what the VM draws and saves."""
        if self.is_json:
            sys.stdout.write(json.dumps(energy._asdict(), indent=2) + "\n")
            return
        self._show(
            ("", "Power", "Energy"),
            [
                (
                    "Saved",
                    format_watts(energy.saved_watts, energy.saved_error_watts),
                    format_joules(energy.saved_joules_total),
                ),
                (
                    "Drawn",
                    format_watts(energy.watts, energy.error_watts),
                    format_joules(energy.joules_total),
                ),
            ],
            (),
        )
        since = timedelta(seconds=round(energy.seconds))
        sys.stdout.write(f"\n in {since}, {energy.source} by the host\n")

    def _show(
        self,
        titles: Sequence[str],
        rows: Sequence[Sequence[str]],
        documents: Sequence[Mapping[str, object]],
    ) -> None:
        if self.is_json:
            sys.stdout.write(json.dumps({"vcpus": documents}, indent=2) + "\n")
            return
        columns = list(zip(titles, *rows))
        widths = [max(map(len, column)) for column in columns]
        lines = [align(row, widths) for row in (titles, *rows)]
        rule = "-" * (max(map(len, lines)) + 1)
        sys.stdout.write("\n".join([lines[0], rule, *lines[1:], ""]))


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Put cells into columns, as virsh does."""
    padded = (cell.ljust(width) for cell, width in zip(cells, widths))
    return f" {_GAP.join(padded).rstrip()}"


def _yes_no(is_so: bool) -> str:  # noqa: FBT001 - the value that it formats
    return "yes" if is_so else "no"


def warn(message: str, hint: str = "") -> None:
    """Write a message, and a hint if there is one, to standard error."""
    sys.stderr.write(f"{message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
    sys.stderr.flush()
