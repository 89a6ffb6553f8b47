"""Files that a new domain needs: refused here if they are missing, told elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.echo import say
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def require_files(files: Mapping[str, Path | None], *, is_here: bool) -> None:
    """Look whether files are there.

    Args:
        files: by the option that names them.
        is_here: whether the domain is for this host. Else they may well be where it
            goes, and people are only told.

    Raises:
        ConfigError: one is missing.
    """
    for option, path in files.items():
        if path is None or not _is_missing(path):
            continue
        if is_here:
            raise ConfigError(
                f"{option}: {path} does not exist",
                hint="make it, or name another one; its XML is printed without it",
            )
        say(
            f"hint: {option}: {path} does not exist on this host;"
            " the domain will not start without it",
            err=True,
        )


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:
        return False  # libvirt may be able to see it; we need not
