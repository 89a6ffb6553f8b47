# SPDX-License-Identifier: Apache-2.0
"""Commands that control the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.system.service_unit import (
    UNIT,
    has_unit,
    log_advice,
    restart_advice,
    runs_in_unit,
    start_command,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_systemctl_is_named_only_where_the_unit_is_installed(tmp_path: Path) -> None:
    directories = [str(tmp_path / "absent"), str(tmp_path)]
    assert start_command(directories) == "vmpowerd"
    assert not has_unit(directories)
    (tmp_path / UNIT).touch()
    assert has_unit(directories)
    assert start_command(directories) == "systemctl start vmpowerd"


@pytest.mark.parametrize("is_unit", [True, False])
def test_systemd_is_named_only_for_a_unit(is_unit: bool) -> None:  # noqa: FBT001
    advice = restart_advice(is_unit=is_unit)
    assert ("systemctl" in advice) is is_unit
    assert ("journalctl" in log_advice(is_unit=is_unit)) is is_unit


@pytest.mark.parametrize(
    ("control_groups", "expected"),
    [
        ("0::/system.slice/vmpowerd.service\n", True),
        ("1:name=systemd:/system.slice/vmpowerd.service/sub\n0::/\n", True),
        ("0::/user.slice/user-0.slice/session-3.scope\n", False),
        ("0::/system.slice/my-vmpowerd.service\n", False),
        ("", False),
    ],
)
def test_a_process_of_the_unit_is_recognized(
    control_groups: str,
    expected: bool,  # noqa: FBT001
) -> None:
    assert runs_in_unit(control_groups) is expected
