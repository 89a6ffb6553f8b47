# SPDX-License-Identifier: Apache-2.0
"""The command that starts the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.system.service_unit import UNIT, start_command

if TYPE_CHECKING:
    from pathlib import Path


def test_systemctl_is_named_only_where_the_unit_is_installed(tmp_path: Path) -> None:
    directories = [str(tmp_path / "absent"), str(tmp_path)]
    assert start_command(directories) == "vmpowerd"
    (tmp_path / UNIT).touch()
    assert start_command(directories) == "systemctl start vmpowerd"
