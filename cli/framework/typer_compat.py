# SPDX-License-Identifier: Apache-2.0
"""The parts of typer that have no public name; nothing else imports private ones.

typer 0.26 vendors click as `typer._click`. When pyproject.toml allows a newer typer,
this is the module to check.
"""

from typer._click.exceptions import (
    ClickException,
    NoArgsIsHelpError,
    NoSuchOption,
    UsageError,
)
from typer._completion_classes import completion_init
from typer._completion_shared import get_completion_script

__all__ = [
    "ClickException",
    "NoArgsIsHelpError",
    "NoSuchOption",
    "UsageError",
    "completion_init",
    "get_completion_script",
]
