"""The daemon's configuration, read as the daemon would read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.config import DEFAULT_FILE, Config, load_config
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from cli.doctor.places import Places


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
