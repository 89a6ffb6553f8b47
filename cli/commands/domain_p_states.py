# SPDX-License-Identifier: Apache-2.0
"""P-states for guests: what the commands that add and remove them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.commands.arguments import POWER_OFF_NOTE
from cli.output.echo import echo
from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.config import Config
    from orchestrator.hypervisor.p_states import PStateChange


def read_configuration(file: Path | None) -> Config:
    """Read the daemon's configuration: limits, the CPU tree, where tables are kept.

    Args:
        file: None: the default one, which need not exist.

    Raises:
        ConfigError: it is invalid, or cannot be read.
    """
    from orchestrator.config_files import load_config

    return load_config(file)


def find_table_directory(file: Path | None) -> Path:
    """Return where tables are kept, also if the configuration is invalid."""
    from orchestrator.config import Config

    try:
        return read_configuration(file).p_states.directory
    except ConfigError:
        return Config().p_states.directory


def build_document(change: PStateChange) -> dict[str, Any]:
    """Build the JSON document of a change."""
    return {
        "is_changed": change.is_changed,
        "vcpus": list(change.vcpus),
        "lacking": [
            {"vcpus": list(vcpus), "reason": reason}
            for reason, vcpus in change.lacking.items()
        ],
        "warnings": list(change.warnings),
    }


def report_onboarded(name: str, change: PStateChange) -> None:
    """Print what was added."""
    if change.is_changed:
        vcpus = name_all("vCPU", change.vcpus)
        echo(f"P-states of {vcpus} added to the definition of domain '{name}'")
    else:
        echo(f"Domain '{name}' already has its P-states")
    for line in describe_lacking(change.lacking):
        echo(f"{line[:1].upper()}{line[1:]}")
    _report_start(change)
    for warning in change.warnings:
        echo(f"hint: {warning}", err=True)


def report_offboarded(name: str, change: PStateChange) -> None:
    """Print what was removed; nothing if there was nothing."""
    if change.is_changed:
        echo(f"P-states removed from the definition of domain '{name}'")
        _report_start(change)


def describe_lacking(lacking: Mapping[str, Sequence[int]]) -> list[str]:
    """Return a line for each reason why vCPUs get no P-states."""
    return [
        f"no P-states for {name_all('vCPU', vcpus)}: {reason}"
        for reason, vcpus in lacking.items()
    ]


def _report_start(change: PStateChange) -> None:
    # Only a start of QEMU loads a table: a reboot of the guest is not enough.
    if change.is_changed and change.is_running:
        echo(POWER_OFF_NOTE)
