# SPDX-License-Identifier: Apache-2.0
"""The parts of typer that have no public name; nothing else imports private ones.

typer 0.26 and later vendor click as `typer._click`; earlier ones, such as Debian 13's
0.15.2, import it. When pyproject.toml allows a newer typer, this is the module to
check.
"""

from typing import TYPE_CHECKING

from typer._completion_classes import completion_init
from typer._completion_shared import get_completion_script

if TYPE_CHECKING:
    from typer._click.exceptions import ClickException, NoSuchOption, UsageError
else:
    try:
        from typer._click.exceptions import ClickException, NoSuchOption, UsageError
    except ImportError:
        from click.exceptions import ClickException, NoSuchOption, UsageError

__all__ = [
    "ClickException",
    "NoSuchOption",
    "UsageError",
    "completion_init",
    "get_completion_script",
]
