# SPDX-License-Identifier: Apache-2.0
"""Writes values over those of other programs, and knows what restores them.

Theory of operation: what an attribute was before is journalled before the first write,
and each value of vmpowerd before it is written, so that a death at any point leaves a
journal from which the next start recognizes and restores it. An entry goes after its
original was written. A write that was refused changes no entry: the next operation
reads again, decides again, and so retries it.

What a value that was read means, and so what to write, differs: `held_limits` and
`held_attributes` decide it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import JournalError, SysfsError
from orchestrator.power.attribute import restore_attribute, write_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.power.held_journal import HeldJournal, HeldValue
    from orchestrator.power.replay import Replay
    from orchestrator.power.sysfs import CpuTree


class Change(NamedTuple):
    """A write that is due."""

    path: str
    held: HeldValue
    """What the journal must have before the write."""
    value: str | None
    """To be written; None: the original."""


class HeldValues:
    """The attributes that have values of vmpowerd, with their originals.

    Synchronization: one thread at a time.
    """

    def __init__(self, tree: CpuTree, journal: HeldJournal) -> None:
        self._tree = tree
        self._journal = journal
        self._held: dict[str, HeldValue] = {}
        self._journalled: dict[str, HeldValue] = {}
        """What the journal has: at least everything that is held."""

    def load(self) -> Replay[int]:
        """Continue with what a previous run has left.

        Returns:
            Whether the journal was set aside, and why.

        Raises:
            JournalError: it cannot be read.
        """
        self._held, aside = self._journal.load()
        self._journalled = dict(self._held)
        return aside

    def __contains__(self, path: str) -> bool:
        return path in self._held

    def get(self, path: str) -> HeldValue | None:
        """Return the entry of an attribute; None: it is not held."""
        return self._held.get(path)

    def paths(self) -> list[str]:
        """Return the attributes that are held, sorted."""
        return sorted(self._held)

    def apply(self, changes: Sequence[Change]) -> dict[str, JournalError | SysfsError]:
        """Journal what is about to be written, and write it in the given order.

        Returns:
            Why an attribute was not written, by path. Without a journal on disk,
            originals are restored, and nothing else is written.
        """
        refused: dict[str, JournalError | SysfsError] = {}
        problem = self._journal_first(changes)
        for change in changes:
            if problem is not None and change.value is not None:
                refused[change.path] = problem
                continue
            try:
                self._write(change)
            except SysfsError as error:
                refused[change.path] = error
        return refused

    def note_shown(self, path: str, shown: str) -> None:
        """Replace all values of ours by what was written last, and what it reads as.

        For attributes that show a value as soon as it is written; the kernel may have
        rounded it.
        """
        held = self._held[path]
        written = held.ours[-1]
        ours = (written,) if shown == written else (shown, written)
        self._held[path] = held._replace(ours=ours)

    def forget(self, path: str) -> None:
        """Forget the original of an attribute, which is not restored any more."""
        self._held.pop(path, None)

    def save(self) -> None:
        """Journal what is held now; a failure is retried by the next operation."""
        with contextlib.suppress(JournalError):
            self._store(self._held)

    def _journal_first(self, changes: Iterable[Change]) -> JournalError | None:
        due = {c.path: c.held for c in changes if c.value is not None}
        if not due:
            return None
        try:
            self._store({**self._held, **due})
        except JournalError as error:
            return error
        return None

    def _store(self, held: Mapping[str, HeldValue]) -> None:
        known = self._journalled
        is_lost = bool(held) and not self._journal.is_on_disk()
        is_covered = held.keys() == known.keys() and all(
            known[path].covers(value) for path, value in held.items()
        )
        if is_lost or not is_covered:
            self._journal.write(held)
            self._journalled = dict(held)

    def _write(self, change: Change) -> None:
        path, held, value = change
        if value is None:
            self._tree.write(path, held.original, restore_attribute)
            self.forget(path)
        else:
            self._tree.write(path, value.encode("ascii"), write_attribute)
            self._held[path] = held
