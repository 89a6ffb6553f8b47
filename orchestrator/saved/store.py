# SPDX-License-Identifier: Apache-2.0
"""The state file: written as the restore journal is, bound to one boot.

A state of another boot is obsolete: domains and the settings of CPUs have ended with
that boot. A file that is not a valid state is set aside under another name, so that the
daemon starts without it and nothing is lost.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from orchestrator.errors import StateError, SysfsError
from orchestrator.saved.state import Saved, SavedState
from orchestrator.system.durable_file import read_own, replace_durably

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

logger = logging.getLogger(__name__)

STATE_NAME = "state.json"
"""File name in a daemon's run directory."""
MAX_BYTES = 16_000_000
"""Largest file that is read: a thousand domains with policies and votes take 1 MB."""


class _Document(Saved):
    """Contents of the file."""

    version: Literal[1] = Field(alias="schema")
    boot_id: str
    state: SavedState


class StateStore:
    """The state file of one daemon.

    Synchronization: one thread at a time; other processes are excluded by the lock of
    the run directory.
    """

    def __init__(
        self, path: Path, tree: CpuTree, *, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._tree = tree
        self._sync = sync

    def load(self) -> SavedState:
        """Read the state of the last run in this boot; without one, an empty state.

        What is unusable is logged and set aside.

        Raises:
            StateError: the kernel does not identify this boot.
        """
        try:
            document = _Document.model_validate_json(read_own(self._path, MAX_BYTES))
        except FileNotFoundError:
            return SavedState()
        except OSError as error:
            self._set_aside(error.strerror or str(error))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            self._set_aside(f"{place}: {first['msg']}" if place else first["msg"])
        else:
            if document.boot_id == self._boot_id():
                return document.state
            logger.info("ignored %s: it was written before the last boot", self._path)
        return SavedState()

    def save(self, state: SavedState) -> None:
        """Write the state to disk, and return when it is on it.

        Raises:
            StateError: it is not on disk; the file has the previous state.
        """
        try:
            if state == SavedState():
                self._path.unlink(missing_ok=True)
                return
            document = _Document(schema=1, boot_id=self._boot_id(), state=state)
            data = document.model_dump_json(
                by_alias=True, exclude_defaults=True, indent=1
            )
            replace_durably(self._path, data.encode() + b"\n", sync=self._sync)
        except OSError as error:
            raise StateError(f"cannot write {self._path}: {error.strerror}") from error

    def _boot_id(self) -> str:
        try:
            return self._tree.boot_id()
        except SysfsError as error:
            raise StateError(f"cannot identify this boot: {error}") from error

    def _set_aside(self, reason: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        logger.error("invalid state file, set aside as %s: %s", aside, reason)
        with suppress(OSError):  # nothing is read from it in any case
            self._path.replace(aside)
