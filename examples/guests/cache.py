"""Files that are slow to make, kept by what they were made of.

The directory is ``.cache`` in the checkout, or ``VMPOWER_CACHE``. Any number of
processes may use it at once: a file appears there complete, under a name that says
its ingredients, and is never changed afterwards.
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
    """A guest cannot be made or started on this machine; the text says why."""


def cache_directory() -> Path:
    """Return the directory for everything that may be deleted, made if need be."""
    directory = Path(os.environ.get("VMPOWER_CACHE") or CHECKOUT / ".cache")
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


def digest(parts: Iterable[str | bytes]) -> str:
    """Return a short name for ``parts``: equal parts in order, equal name."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:16]


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cached ``name``, made first by ``make(path)`` if it is missing.

    ``make`` fills the path that it is given, with a file or a directory; what it
    raises leaves nothing behind. It must not call this function: one process makes one
    thing at a time.
    """
    path = cache_directory() / name
    if path.exists():
        return path
    with (cache_directory() / "making.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        workshop = Path(tempfile.mkdtemp(prefix="making-", dir=cache_directory()))
        try:
            made = workshop / path.name
            make(made)
            made.rename(path)
        finally:
            shutil.rmtree(workshop)
    return path


def forget_unused(pattern: str, *, after_s: float) -> None:
    """Remove cached files that nobody has used for so long, by their times."""
    now = datetime.now(tz=UTC).timestamp()
    for path in cache_directory().glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if now - path.stat().st_mtime > after_s:
                path.unlink()
