# SPDX-License-Identifier: Apache-2.0
"""Holds attributes of the kernel at a value while it is wanted, and restores them.

Theory of operation: these attributes read as they were written, so that a value read is
one of ours, or another program's. Each operation reads first and writes only what
differs (`held_values`), so it can be repeated at any time; what was refused is retried
by the next one. What is read decides:

* ours: it is held, and the original is restored when it is no longer wanted;
* another program's: it is left as it is, reported, and never restored. It is replaced
  only when another value is wanted of the attribute;
* the file is a new one (a scaling driver was loaded, or has changed its mode; the inode
  of a file in sysfs is never used again): its value is the original, and the former one
  is forgotten;
* there is no such file: the attribute is not offered here;
* the value is hidden (a governor that decides it), or the CPUs are offline: nothing is
  concluded, and it is read again by the next operation.

Each file is opened by its path for each access: a descriptor would not survive a change
of the scaling driver's mode (ENODEV).

Source: fs/kernfs/dir.c of the kernel (kernfs_get_inode), fs/sysfs/file.c.
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import SysfsError
from orchestrator.power.attribute_kinds import KINDS, kind_of
from orchestrator.power.attribute_state import AttributeState, Outcome
from orchestrator.power.held_journal import HeldValue
from orchestrator.power.held_values import Change, HeldValues
from orchestrator.power.replay import Replay
from orchestrator.power.sysfs import first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.errors import JournalError
    from orchestrator.power.attribute_journal import AttributeJournal
    from orchestrator.power.sysfs import CpuTree

_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})
_INVALID = frozenset({errno.EPERM, errno.EINVAL})
"""The kernel refuses the value itself, so that retrying does not help. As for no_turbo
on a host whose firmware has switched turbo off: writing 0 is EPERM (measured)."""


class _File(NamedTuple):
    """An attribute as it was read."""

    value: bytes
    inode: int


class _Due(NamedTuple):
    """A write that is due, and what was read before it."""

    write: Change
    found: _File
    shown: str

    @property
    def order(self) -> int:
        """Whether it is written before others (-1), after them (1), or neither."""
        path, held, value = self.write
        if not kind_of(path).is_upper_limit:
            return 0
        new = value or first_line(held.original)
        # Decimal numbers.
        return -1 if (len(new), new) > (len(self.shown), self.shown) else 1


class HeldAttributes:
    """Holds attributes of the kinds in `attribute_kinds`, and restores them.

    Synchronization: any thread; calls exclude each other and block for milliseconds.
    """

    def __init__(self, tree: CpuTree, journal: AttributeJournal) -> None:
        self._tree = tree
        self._values = HeldValues(tree, journal)
        self._lock = threading.Lock()
        self._wanted: dict[str, str] = {}
        """By path, or by the pattern of a kind."""
        self._inodes: dict[str, int] = {}
        """Of the files that were written."""
        self._left: dict[str, int] = {}
        """The inodes of the files that were left to other programs."""
        self._suspended: set[str] = set()
        self._resumed: set[str] = set()
        """Those whose value proves nothing: they were suspended."""
        self._latest: dict[str, AttributeState] = {}
        self._news: dict[str, AttributeState] = {}
        """What has changed and was not returned yet."""

    def replay(self) -> Replay[str]:
        """Restore the attributes that a previous run has left, as far as possible.

        Those that the kernel refuses are retried by each `refresh`.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        with self._lock:
            aside = self._values.load()
            return replace(
                self._restore(), set_aside=aside.set_aside, reason=aside.reason
            )

    def hold(self, changes: Mapping[str, str | None]) -> Mapping[str, AttributeState]:
        """Hold attributes at other values from now on.

        Args:
            changes: the wanted value by path, or by the pattern of a kind
                (`AttributeKind.every`), which means every file that is not named by
                itself; None: none is wanted any more.

        Returns:
            The attributes that have changed, or whose outcome has.
        """
        with self._lock:
            paths = {path for key in changes for path in self._expand(key)}
            before = {path: self._wanted_of(path) for path in paths}
            for key, value in changes.items():
                if value is None:
                    self._wanted.pop(key, None)
                else:
                    self._wanted[key] = kind_of(key).canonical(value)
            for path in paths:
                if self._wanted_of(path) != before[path]:
                    self._left.pop(path, None)
            self._reconcile(paths)
            return self._take_news()

    def refresh(self) -> Mapping[str, AttributeState]:
        """Read everything that is wanted or held, and retry what was refused.

        Returns:
            The attributes that have changed since they were last returned.
        """
        with self._lock:
            paths = self._concerned()
            self._reconcile(paths)
            appeared = [key for key in self._latest if "*" in key and key not in paths]
            self._note(dict.fromkeys(appeared))
            return self._take_news()

    def suspend(self, number: int) -> None:
        """Leave alone what taking a clock group changes: its energy preference.

        When this returns, nothing writes it until `resume`; what is held stays in the
        journal, and its value is that of vmpowerd or the original.

        Args:
            number: of the clock group.
        """
        with self._lock:
            self._suspended.update(_set_with_governor(number))

    def resume(self, number: int) -> None:
        """Hold again what was suspended, or restore what is no longer wanted."""
        with self._lock:
            paths = self._suspended & _set_with_governor(number)
            self._suspended -= paths
            self._resumed |= paths
            self._reconcile(paths & self._concerned())

    def restore_all(self) -> Replay[str]:
        """Restore every original, also of what is suspended.

        Clock groups are restored before. What is refused stays journalled.
        """
        with self._lock:
            self._wanted.clear()
            self._resumed |= self._suspended
            self._suspended.clear()
            return self._restore()

    def _restore(self) -> Replay[str]:
        """Restore what is held; nothing is wanted."""
        paths = self._values.paths()
        ours = {path for path in paths if self._is_ours(path)}
        self._reconcile(paths)
        news = self._take_news()
        refused = {
            path: state.problem
            for path, state in news.items()
            if state.outcome is Outcome.REFUSED and path not in self._values
        }
        over = [p for p in paths if p not in self._values and p not in refused]
        return Replay(
            restored=tuple(path for path in over if path in ours),
            left=tuple(path for path in over if path not in ours),
            kept={p: self._latest[p].problem for p in paths if p in self._values},
            refused=refused,
        )

    def _expand(self, key: str) -> Iterator[str]:
        if "*" not in key:
            yield key
            return
        kind, root = kind_of(key), self._tree.root
        found = (str(path.relative_to(root)) for path in root.glob(key))
        paths = [*filter(kind.has, found), *filter(kind.has, self._values.paths())]
        # The pattern itself, which is not a file, if the kernel has none of them.
        yield from paths or [key]

    def _concerned(self) -> set[str]:
        wanted = {path for key in self._wanted for path in self._expand(key)}
        return wanted.union(self._values.paths())

    def _wanted_of(self, path: str) -> str | None:
        return self._wanted.get(path, self._wanted.get(kind_of(path).every))

    def _take_news(self) -> Mapping[str, AttributeState]:
        news, self._news = self._news, {}
        return news

    # Reading

    def _read(self, path: str) -> _File:
        fd = self._tree.open(path, writable=False)
        try:
            return _File(self._tree.read_fd(fd, path), os.fstat(fd).st_ino)
        finally:
            os.close(fd)

    def _is_ours(self, path: str) -> bool:
        """Whether an attribute still has a value of vmpowerd, as far as known."""
        if path in self._resumed:
            return True
        try:
            shown = first_line(self._read(path).value)
        except SysfsError as error:
            return error.errno not in _ABSENT
        held = self._values.get(path)
        return held is not None and kind_of(path).canonical(shown) in held.ours

    # Deciding

    def _plan(self, path: str) -> _Due | AttributeState | None:
        """Read an attribute and decide what to do.

        Returns:
            A write, or what became of it without one; None: neither wanted nor held.

        Raises:
            SysfsError: it cannot be read.
        """
        held = self._values.get(path)
        if held is None and self._wanted_of(path) is None:
            return None
        found, kind = self._read(path), kind_of(path)
        shown = kind.canonical(first_line(found.value))
        if path in self._suspended:
            return AttributeState(Outcome.SUSPENDED, shown)
        if held is not None and shown in held.ours:
            self._inodes[path] = found.inode
            self._resumed.discard(path)
            return self._plan_held(path, held, shown, found)
        if held is not None and not self._is_still_held(path, shown, found):
            self._forget(path)
            held = None
        cover = kind.find_cover(self._tree, path, shown)
        if cover and shown != self._wanted_of(path):
            return AttributeState(Outcome.REFUSED, shown, cover)
        if held is not None:
            return self._plan_held(path, held, shown, found)
        return self._plan_new(path, shown, found)

    def _is_still_held(self, path: str, shown: str, found: _File) -> bool:
        """Whether the original counts although another value than ours is shown."""
        if found.inode != self._inodes.get(path, found.inode):
            return False
        if path in self._resumed or kind_of(path).find_cover(self._tree, path, shown):
            return True
        self._left[path] = found.inode
        return False

    def _plan_held(
        self, path: str, held: HeldValue, shown: str, found: _File
    ) -> _Due | AttributeState:
        """Decide about an attribute whose original is to be restored."""
        kind, wanted = kind_of(path), self._wanted_of(path)
        original = kind.canonical(first_line(held.original))
        if wanted is None or kind.is_enough(original, wanted):
            return _Due(Change(path, held, None), found, shown)
        if held.ours[-1] == wanted and shown in held.ours:
            return AttributeState(Outcome.HELD, shown)
        ours = (*(own for own in held.ours if own != wanted), wanted)
        change = Change(path, held._replace(ours=ours), wanted)
        return self._unless_impossible(_Due(change, found, shown))

    def _plan_new(
        self, path: str, shown: str, found: _File
    ) -> _Due | AttributeState | None:
        """Decide about an attribute that vmpowerd has not written."""
        kind, wanted = kind_of(path), self._wanted_of(path)
        if wanted is None:
            return None
        if kind.is_enough(shown, wanted):
            return AttributeState(Outcome.SUFFICIENT, shown)
        if self._left.get(path) == found.inode:
            return AttributeState(Outcome.LEFT, shown)
        change = Change(path, HeldValue(found.value, (wanted,)), wanted)
        return self._unless_impossible(_Due(change, found, shown))

    def _unless_impossible(self, due: _Due) -> _Due | AttributeState:
        path, _held, value = due.write
        find_obstacle = kind_of(path).find_obstacle
        problem = find_obstacle(self._tree, path, value or "", self._wanted_of)
        if problem:
            return AttributeState(Outcome.REFUSED, due.shown, problem)
        return due

    # Writing

    def _reconcile(self, paths: Iterable[str]) -> None:
        due: list[_Due] = []
        states: dict[str, AttributeState | None] = {}
        for path in sorted(paths):
            try:
                planned = self._plan(path)
            except SysfsError as error:
                states[path] = self._on_unreadable(path, error)
                continue
            if isinstance(planned, _Due):
                due.append(planned)
            else:
                states[path] = planned
        due.sort(key=lambda each: each.order)
        refused = self._values.apply([each.write for each in due])
        for each in due:
            path = each.write.path
            if path in refused:
                states[path] = self._on_refused(each, refused[path])
            else:
                states[path] = self._on_written(each)
        self._values.save()
        self._note(states)

    def _on_unreadable(self, path: str, error: SysfsError) -> AttributeState | None:
        if error.errno not in _ABSENT:
            return AttributeState(Outcome.REFUSED, problem=str(error))
        if self._wanted_of(path) is not None:
            # What is held is compared with the new file, if there will be one.
            return AttributeState(Outcome.ABSENT)
        self._forget(path)
        return None

    def _on_written(self, due: _Due) -> AttributeState:
        path, _held, value = due.write
        self._resumed.discard(path)
        shown = self._read_back(due.write)
        if value is None:
            self._forget(path)
            is_over = self._wanted_of(path) is None
            outcome = Outcome.RELEASED if is_over else Outcome.SUFFICIENT
            return AttributeState(outcome, shown)
        self._inodes[path] = due.found.inode
        self._values.note_shown(path, shown)
        return AttributeState(Outcome.HELD, shown)

    def _read_back(self, written: Change) -> str:
        """Return what the kernel shows after a write: it may have rounded the value."""
        canonical = kind_of(written.path).canonical
        try:
            return canonical(first_line(self._read(written.path).value))
        except SysfsError:  # the CPUs went offline
            return written.value or canonical(first_line(written.held.original))

    def _on_refused(
        self, due: _Due, error: JournalError | SysfsError
    ) -> AttributeState | None:
        path, _held, value = due.write
        if isinstance(error, SysfsError):
            if error.errno in _ABSENT:
                return self._on_unreadable(path, error)
            if value is None and error.errno in _INVALID:
                self._forget(path)
        return AttributeState(Outcome.REFUSED, due.shown, str(error))

    def _forget(self, path: str) -> None:
        """Forget the original of an attribute."""
        self._values.forget(path)
        self._inodes.pop(path, None)
        self._resumed.discard(path)

    def _note(self, states: Mapping[str, AttributeState | None]) -> None:
        """Remember what became of attributes, and what of it is new."""
        for path, found in states.items():
            known = self._latest.get(path)
            state = found
            if state is None:  # no longer wanted, and another program's or gone
                if known is None:
                    continue
                state = AttributeState(Outcome.RELEASED, known.value)
            elif known is not None and known.value == state.value:
                state = state._replace(effect=known.effect)
            elif state.value:
                effect = kind_of(path).find_effect(self._tree, path, state.value)
                state = state._replace(effect=effect)
            if state != known:
                self._news[path] = state
            is_over = self._wanted_of(path) is None and path not in self._values
            if is_over:
                self._latest.pop(path, None)
                self._left.pop(path, None)
            else:
                self._latest[path] = state


def _set_with_governor(number: int) -> set[str]:
    return {kind.path_of(number) for kind in KINDS if kind.is_set_with_governor}
