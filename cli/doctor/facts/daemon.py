"""The daemon: whether it answers, and what it says about itself and all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.config import DEFAULT_FILE, Config, load_config
from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.errors import ConfigError, ControlError

if TYPE_CHECKING:
    from pathlib import Path

    from cli.doctor.places import Places
    from orchestrator.control import documents

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What came of asking it."""

    status: documents.Status | None
    failure: str = ""
    """Why there is no status."""
    hint: str = ""


def read_daemon(places: Places) -> Daemon:
    """Ask the daemon for its status over the socket for everybody."""
    path = places.socket or places.run_dir / READ_ONLY_SOCKET
    try:
        with ControlClient(path, timeout_s=_PATIENCE_S) as client:
            return Daemon(status=client.status())
    except ControlError as error:
        return Daemon(status=None, failure=str(error), hint=error.hint)


@dataclass(frozen=True, slots=True)
class Status:
    """All that a daemon that runs says."""

    document: documents.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What the file says, or why it cannot be used."""

    file: Path
    problem: str
    """Empty: it is good, or not there."""
    config: Config
    """The defaults where the file cannot be used."""


def read_configuration(places: Places) -> Configuration:
    """Read the configuration file and its drop-ins."""
    file = places.config or places.path(str(DEFAULT_FILE).lstrip("/"))
    is_named = places.config is not None or places.is_copy
    problem, config = "", Config()
    try:
        if not places.is_copy or file.is_file():
            config = load_config(file if is_named else None)
    except ConfigError as error:
        problem = str(error)
    return Configuration(file=file, problem=problem, config=config)
