# SPDX-License-Identifier: Apache-2.0
"""The daemon: whether it responds, its status, its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.config import Config
from orchestrator.config_files import DEFAULT_FILE, load_config
from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.errors import ConfigError, ControlError

if TYPE_CHECKING:
    from pathlib import Path

    from cli.doctor.target import Target
    from orchestrator.control import documents

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The result of a request to the daemon."""

    status: documents.Status | None
    failure: str = ""
    """Why there is no status."""
    hint: str = ""


def read_daemon(target: Target) -> Daemon:
    """Request the daemon's status over the read-only socket."""
    path = target.socket or target.run_dir / READ_ONLY_SOCKET
    try:
        with ControlClient(path, timeout_s=_TIMEOUT_S) as client:
            return Daemon(status=client.status())
    except ControlError as error:
        return Daemon(status=None, failure=str(error), hint=error.hint)


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a running daemon."""

    document: documents.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The configuration file, or why it is invalid."""

    file: Path
    problem: str
    """Empty: the file is valid, or does not exist."""
    config: Config
    """The defaults if the file is invalid."""


def read_configuration(target: Target) -> Configuration:
    """Read the configuration file and its drop-ins."""
    file = target.config or target.path(str(DEFAULT_FILE).lstrip("/"))
    is_named = target.config is not None or target.is_copy
    problem, config = "", Config()
    try:
        if not target.is_copy or file.is_file():
            config = load_config(file if is_named else None)
    except ConfigError as error:
        problem = str(error)
    return Configuration(file=file, problem=problem, config=config)
