# SPDX-License-Identifier: Apache-2.0
"""A cache of files that are slow to build, keyed by what they are built from.

The directory is ``.cache`` in the checkout, or ``VMPOWER_CACHE``. Any number of
processes may use it at once: a file is renamed into place when it is complete, under
a name derived from its inputs, and is never changed afterwards.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHECKOUT = Path(__file__).resolve().parents[2]


class GuestError(Exception):
    """A guest cannot be built or started on this machine, for the given reason."""


def cache_directory() -> Path:
    """Return the directory of files that can be rebuilt; create it if necessary."""
    directory = Path(os.environ.get("VMPOWER_CACHE") or CHECKOUT / ".cache")
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


def digest(parts: Iterable[str | bytes]) -> str:
    """Return a short hash of ``parts``; their order matters."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:16]


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of the cached ``name``; call ``make(path)`` if it is missing.

    ``make`` creates a file or a directory at the given path; if it raises, nothing is
    cached. Another process that needs the same name waits for it; others do not.
    """
    path = cache_directory() / name
    if path.exists():
        return path
    locks = cache_directory() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        build_directory = Path(
            tempfile.mkdtemp(prefix="making-", dir=cache_directory())
        )
        try:
            made = build_directory / path.name
            make(made)
            made.rename(path)
        finally:
            shutil.rmtree(build_directory)
    return path


def remove_unused(pattern: str, *, after_s: float) -> None:
    """Remove cached files that were last used (touched) more than this ago."""
    now = datetime.now(tz=UTC).timestamp()
    for path in cache_directory().glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if now - path.stat().st_mtime > after_s:
                path.unlink()
