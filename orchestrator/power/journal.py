# SPDX-License-Identifier: Apache-2.0
"""The restore journal: the original values of all attributes that vmpowerd changes.

Theory of operation: the originals of a group are on disk before anything of it is
changed, and removed after everything is restored. Whichever process dies in between,
the next start or `vmpower restore` finds a complete journal, the older or the newer
one: it is replaced by a rename, never written in place. Replaying it twice is harmless.

A group is restored only while it is taken. If it has another governor than the one with
which it is taken, it was never taken, or the monitor has restored it already, or an
operator has changed it since: it stays as it is, except for limits that are still
pinned to one frequency. One whose scaling driver is another one now stays as it is: the
kernel has reset everything then.

Root writes what is in a journal. So a journal is read only if no other user can change
it or its directory, and it may name only attributes that a mechanism restores.

The file on disk may disappear, for instance with its directory. What was written is
remembered, and written again before the next group is taken; if that fails, no group
is.

Settings in /sys last until the next boot, so a journal of an earlier boot is obsolete;
so is one of another CPU tree. Such a journal is set aside under another name, neither
replayed nor deleted.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import JournalError, SysfsError
from orchestrator.power.attribute import restore_attributes
from orchestrator.power.group import limits_among
from orchestrator.power.journal_document import (
    Document,
    decode_document,
    encode_document,
    is_attribute_of,
)
from orchestrator.power.mechanisms.registry import ORIGINALS
from orchestrator.power.replay import Replay
from orchestrator.power.sysfs import first_line, policy_path
from orchestrator.system.durable_file import (
    FileVersion,
    discard_partial,
    read_own,
    read_version,
    replace_durably,
)
from orchestrator.system.ownership import ForeignFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from orchestrator.power.group import Original, PreparedGroup
    from orchestrator.power.sysfs import CpuTree


JOURNAL_NAME = "restore.json"
"""File name in a daemon's run directory, also for `vmpower restore`."""


class Journal:
    """The journal of one daemon for one CPU tree.

    Synchronization: one thread at a time; other processes are excluded by the lock of
    the tree.
    """

    def __init__(
        self, path: Path, tree: CpuTree, *, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._tree = tree
        self._sync = sync
        self._written: Mapping[int, tuple[Original, ...]] = {}
        """What is on disk, if the file is still of this version:"""
        self._version: FileVersion | None = None
        self._drivers: dict[int, str] = {}
        """The scaling driver of each group when it was journalled, if it is known."""

    def _is_permitted(self, number: int, path: str) -> bool:
        """Whether the entries under a number may name a path."""
        return is_attribute_of(number, path, ORIGINALS)

    def read(self) -> Mapping[int, tuple[Original, ...]]:
        """Read the originals that are journalled for this tree and boot, by group.

        Raises:
            JournalError: it cannot be read, is invalid, or of another tree or boot;
                replaying sets it aside.
        """
        document = self._load()
        if document is None:
            return {}
        if reason := self._why_unusable(document):
            raise JournalError(reason, hint="replaying sets it aside")
        return document.groups

    def record(self, *prepared: PreparedGroup) -> None:
        """Write the originals of groups to disk, and return when they are on it.

        A group that is journalled already keeps its older originals, which are from
        before the first change.

        Raises:
            JournalError: they are not on disk; nothing of these groups may be changed.
        """
        known = self._known()
        new = {each.group.number: each.originals for each in prepared}
        if new.keys() - known.keys() or not self.is_on_disk():
            self._store({**new, **known})

    def is_on_disk(self) -> bool:
        """Whether the file on disk is the one that this object wrote last."""
        return self._version is not None and self._version == read_version(self._path)

    def confirm(self, number: int) -> None:
        """Make sure that the originals of a group are on disk; it is taken next.

        Raises:
            JournalError: they are not; the group may not be taken.
        """
        known = self._known()
        if number not in known:
            raise JournalError(f"{self._path} has no clock group {number}")
        if not self.is_on_disk():
            self._store(known)

    def renew(self, prepared: PreparedGroup) -> None:
        """Write changed originals of a group to disk; it must not be taken yet.

        Raises:
            JournalError: they are not on disk; nothing of the group may be changed.
        """
        self._store({**self._known(), prepared.group.number: prepared.originals})

    def forget(self, *numbers: int) -> None:
        """Remove groups whose originals are restored.

        Raises:
            JournalError: the journal could not be replaced; it still has them.
        """
        groups, gone = self._known(), set(numbers)
        rest = {n: values for n, values in groups.items() if n not in gone}
        if len(rest) < len(groups):
            self._store(rest)

    def remove(self) -> None:
        """Delete the journal with all its entries; it need not exist.

        Raises:
            JournalError: it cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure("remove", error) from error
        self._remember({}, None)

    def replay(self, only: Collection[int] | None = None) -> Replay[int]:
        """Restore the journalled originals, as far as the kernel permits.

        Args:
            only: numbers of clock groups; None: all of them.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        self._discard_partial()
        found, aside = self._read_or_set_aside()
        restored, left, kept = [], [], {}
        for number, originals in {**found, **self._written}.items():
            if only is not None and number not in only:
                continue
            ours = () if self._is_replaced(number) else _ours(self._tree, originals)
            if not ours:
                left.append(number)
            elif refusal := _write_back(self._tree, ours):
                kept[number] = refusal
            else:
                restored.append(number)
        self.forget(*restored, *left)
        return replace(aside, restored=tuple(restored), left=tuple(left), kept=kept)

    def _read_or_set_aside(
        self,
    ) -> tuple[Mapping[int, tuple[Original, ...]], Replay[int]]:
        """Read the file; one that cannot be used is set aside and not replayed."""
        try:
            document = self._load()
        except _UnreadableError as error:
            return {}, self._set_aside("unreadable", str(error))
        if document is None:
            return {}, Replay()
        if reason := self._why_unusable(document):
            return {}, self._set_aside("other", reason)
        return document.groups, Replay()

    def _load(self) -> Document | None:
        try:
            data = read_own(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure("read", error) from error
        try:
            document = self._decode(data)
        except ValueError as error:
            raise _UnreadableError(
                f"invalid restore journal {self._path}: {error}",
                hint="replaying sets it aside",
            ) from error
        if not self._why_unusable(document):
            self._drivers = {**document.drivers, **self._drivers}
        return document

    def _decode(self, data: bytes) -> Document:
        """Decode the bytes of the file.

        Raises:
            ValueError: not a valid journal.
        """
        return decode_document(data, self._is_permitted)

    def _is_replaced(self, number: int) -> bool:
        """Whether a group has another scaling driver than when it was journalled."""
        known, current = self._drivers.get(number), self._read_driver(number)
        return bool(known and current and known != current)

    def _read_driver(self, number: int) -> str:
        """Return the scaling driver of a group; empty: its CPUs are offline."""
        try:
            return self._tree.read(policy_path(number, "scaling_driver"))
        except SysfsError:
            return ""

    def _why_unusable(self, document: Document) -> str:
        if document.tree != self._tree.identity():
            return f"{self._path} is of another CPU tree: {document.tree}"
        if document.boot_id != self._boot_id():
            return f"{self._path} was written before the last boot"
        return ""

    def _boot_id(self) -> str:
        try:
            return self._tree.boot_id()
        except SysfsError as error:
            raise JournalError(f"cannot identify this boot: {error}") from error

    def _set_aside(self, suffix: str, reason: str) -> Replay[int]:
        aside = self._path.with_name(f"{self._path.name}.{suffix}")
        try:
            self._path.replace(aside)
        except OSError as error:
            raise self._failure("set aside", error) from error
        self._version = None
        return Replay(set_aside=aside, reason=reason)

    def _store(self, groups: Mapping[int, tuple[Original, ...]]) -> None:
        if not groups:
            self.remove()
            return
        for number in groups.keys() - self._drivers.keys():
            self._drivers[number] = self._read_driver(number)
        document = Document(
            tree=self._tree.identity(),
            boot_id=self._boot_id(),
            groups=groups,
            drivers={n: self._drivers[n] for n in groups if self._drivers[n]},
        )
        try:
            version = replace_durably(
                self._path, encode_document(document), sync=self._sync
            )
        except OSError as error:
            raise self._failure("write", error) from error
        self._remember(groups, version)

    def _known(self) -> Mapping[int, tuple[Original, ...]]:
        """Return what is on disk, and what was and has disappeared from there.

        Raises:
            JournalError: as `read`.
        """
        if self.is_on_disk():
            return self._written
        return {**self.read(), **self._written}

    def _remember(
        self, groups: Mapping[int, tuple[Original, ...]], version: FileVersion | None
    ) -> None:
        self._written, self._version = groups, version
        self._drivers = {n: name for n, name in self._drivers.items() if n in groups}

    def _discard_partial(self) -> None:
        try:
            discard_partial(self._path)
        except OSError as error:
            raise self._failure("clean up beside", error) from error

    def _failure(self, doing: str, error: OSError) -> JournalError:
        hint = ""
        if isinstance(error, ForeignFileError):
            hint = error.fix
        elif isinstance(error, FileNotFoundError):
            hint = "the run directory is gone; restart the daemon"
        reason = f"cannot {doing} {self._path}: {error.strerror}"
        return JournalError(reason, hint=hint)


class _UnreadableError(JournalError):
    """The file exists, but is not a valid journal."""


def _ours(tree: CpuTree, originals: tuple[Original, ...]) -> tuple[Original, ...]:
    """Return the originals of what is still as vmpowerd set it.

    All of them while the group is taken; else the limits while they are pinned to one
    frequency, because they act under every governor.
    """
    evidence = [original for original in originals if original.is_changed_by_taking()]
    if evidence and _is_taken(tree, evidence):
        return originals
    limits = limits_among(originals)
    if limits and not _is_pinned(tree, limits):
        return ()
    return limits if evidence else originals


def _is_taken(tree: CpuTree, evidence: Iterable[Original]) -> bool:
    """Whether a group is as it was taken, as far as that can be read."""
    for original in evidence:
        try:
            if tree.read(original.path) != first_line(original.taken_value):
                return False
        except SysfsError:  # its CPUs are offline: the write will be refused, too
            continue
    return True


def _is_pinned(tree: CpuTree, limits: Iterable[Original]) -> bool:
    """Whether limits are one frequency, as far as that can be read."""
    try:
        return len({tree.read(limit.path) for limit in limits}) == 1
    except SysfsError:  # as above
        return True


def _write_back(tree: CpuTree, originals: tuple[Original, ...]) -> str:
    """Restore one group; return what was refused, for people; empty: all restored."""
    opened: dict[int, Original] = {}
    refusals = []
    try:
        for original in originals:
            try:
                opened[tree.open(original.path, writable=True)] = original
            except SysfsError as error:
                refusals.append(str(error))
        pairs = [(fd, original.value) for fd, original in opened.items()]
        for fd, answer in restore_attributes(pairs):
            path = str(tree.root / opened[fd].path)
            refusals.append(str(SysfsError(path, answer.errno or errno.EIO, "restore")))
    finally:
        for fd in opened:
            os.close(fd)
    return "; ".join(refusals)
