# SPDX-License-Identifier: Apache-2.0
"""Cron jobs, units, udev rules and files for boot that set governors or frequencies.

A script that a job runs is searched, too; what that script runs is not.

Source: crontab(5), anacrontab(5), cron(8), udev(7), tmpfiles.d(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.facts.units import commands_of, read_units
from cli.doctor.facts.writes import (
    SYSFS,
    TMPFILES,
    UDEV,
    Line,
    find_writes,
    lines_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from cli.doctor.target import Target

_CRON = (
    "etc/crontab",
    "etc/anacrontab",
    "etc/cron.d/*",
    "etc/cron.hourly/*",
    "etc/cron.daily/*",
    "etc/cron.weekly/*",
    "etc/cron.monthly/*",
    "var/spool/cron/*",
    "var/spool/cron/crontabs/*",
)
_RULES = (
    "etc/udev/rules.d/*.rules",
    "run/udev/rules.d/*.rules",
    "usr/local/lib/udev/rules.d/*.rules",
    "usr/lib/udev/rules.d/*.rules",
    "lib/udev/rules.d/*.rules",
)
"""A file hides those of the same name in the directories behind it."""
_BOOT: tuple[tuple[str, str, re.Pattern[str] | None, bool], ...] = (
    ("rc.local runs", "etc/rc.local", None, False),
    ("rc.local runs", "etc/rc.d/rc.local", None, False),
    ("tmpfiles.d sets", "etc/tmpfiles.d/*.conf", TMPFILES, True),
    ("tmpfiles.d sets", "usr/lib/tmpfiles.d/*.conf", TMPFILES, True),
    ("sysfsutils sets", "etc/sysfs.conf", SYSFS, True),
    ("sysfsutils sets", "etc/sysfs.d/*.conf", SYSFS, True),
)
_PRIVATE = ("var/spool/cron", "var/spool/cron/crontabs")
"""Directories that only root may list."""
_PATH = re.compile(r"(?<![\w$.}>])/(?!sys/|proc/|dev/)[\w./+-]+")
_SCRIPT = "#!"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line that sets something, and what executes it."""

    path: str
    line: int
    text: str
    by: str
    """`cron runs`, `udev sets`, ...; for people."""
    is_early: bool = False
    """Whether it is executed early at boot, before any daemon, and not again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """All of them, each line once."""

    jobs: tuple[Job, ...]
    unreadable: tuple[str, ...]
    """Files and directories that this user may not read."""


def read_jobs(target: Target, known_units: Collection[str]) -> Jobs:
    """Search files of cron, systemd, udev and boot.

    Args:
        target: where to read.
        known_units: systemd units that need no search.
    """
    search = _Search(target)
    found: dict[tuple[str, int], Job] = {}
    for job in search.all_jobs(known_units):
        found.setdefault((job.path, job.line), job)
    return Jobs(jobs=tuple(found.values()), unreadable=tuple(search.unreadable))


class _Search:
    """Reads files, and collects those that it may not read."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.unreadable: dict[str, None] = {}

    def all_jobs(self, known_units: Collection[str]) -> Iterator[Job]:
        for pattern in _CRON:
            for path in self._glob(pattern):
                yield from self._jobs(path, lines_of(self._read(path)), "cron runs")
        for unit in read_units(self._target):
            for path in unit.files if unit.name not in known_units else ():
                yield from self._jobs(path, commands_of(path), f"{unit.starter} runs")
        rules = {path.name: path for it in reversed(_RULES) for path in self._glob(it)}
        for path in rules.values():
            yield from self._jobs(path, lines_of(self._read(path)), "udev sets", UDEV)
        for by, pattern, setting, is_early in _BOOT:
            for path in self._glob(pattern):
                lines = lines_of(self._read(path))
                yield from self._jobs(path, lines, by, setting, is_early=is_early)

    def _jobs(
        self,
        path: Path,
        lines: list[Line],
        by: str,
        setting: re.Pattern[str] | None = None,
        *,
        is_early: bool = False,
    ) -> Iterator[Job]:
        name = self._name(path)
        for line in find_writes(lines, setting):
            yield Job(
                path=name, line=line.number, text=line.text, by=by, is_early=is_early
            )
        for line in lines:
            for script in _PATH.findall(line.text):
                runs = f"{by} this script ({name}:{line.number}), which runs"
                yield from self._jobs_of_script(script, runs)

    def _jobs_of_script(self, script: str, by: str) -> Iterator[Job]:
        text = self._read(self._target.path(script.lstrip("/")))
        if text.startswith(_SCRIPT):
            for line in find_writes(lines_of(text)):
                yield Job(path=script, line=line.number, text=line.text, by=by)

    def _glob(self, pattern: str) -> list[Path]:
        directory = pattern.rpartition("/")[0]
        if directory in _PRIVATE:
            self._try_list(self._target.path(directory))
        return sorted(self._target.root.glob(pattern))

    def _try_list(self, directory: Path) -> None:
        try:
            next(directory.iterdir(), None)
        except PermissionError:
            self.unreadable[self._name(directory)] = None
        except OSError:
            pass

    def _read(self, path: Path) -> str:
        try:
            if not path.is_file():
                return ""
            with path.open("rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "replace")
        except PermissionError:
            self.unreadable[self._name(path)] = None
        except OSError:
            pass
        return ""

    def _name(self, path: Path) -> str:
        """Return the path on the host, which may not be this one."""
        return f"/{path.relative_to(self._target.root)}"
