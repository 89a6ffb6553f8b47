# SPDX-License-Identifier: Apache-2.0
"""`vmpower apply`, with a fake daemon on real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Vmpower

GOOD = '{"command": "power", "unit": "SCALE_MAX", "resource_id": 2}'


def test_each_message_of_a_file_has_an_outcome(
    vmpower: Vmpower, tmp_path: Path
) -> None:
    file = tmp_path / "messages"
    file.write_text(f'{GOOD}\n{{"command": "destroy"}}')
    result = vmpower("apply", str(file))
    assert (result.exit_code, result.stdout) == (0, "POWER\nDESTROY\n")


def test_a_refused_message_gives_status_1(vmpower: Vmpower, tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_text(GOOD + '{"command": "fly"}')
    result = vmpower("apply", str(file), "--cpu", "3")
    assert (result.exit_code, result.stdout) == (1, "POWER\n")
    assert "invalid command 'fly': expected one of" in result.stderr
    document = json.loads(vmpower("apply", str(file), "-o", "json").stdout)
    assert [outcome["done"] for outcome in document["outcomes"]] == [True, False]


def test_a_message_that_names_no_cpu_gets_a_hint(
    vmpower: Vmpower, tmp_path: Path
) -> None:
    file = tmp_path / "messages"
    file.write_text('{"command": "power", "unit": "SCALE_MIN"}')
    hint = """add "resource_id": 3, or use 'vmpower apply --cpu 3'"""
    assert vmpower("apply", str(file)).stderr == (
        f"error: refused: the message names no CPU\nhint: {hint}\n"
    )
    document = json.loads(vmpower("apply", str(file), "-o", "json").stdout)
    assert [outcome["hint"] for outcome in document["outcomes"]] == [hint]


def test_an_unreadable_file_is_a_usage_error(vmpower: Vmpower, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text(" \n")
    assert "no messages" in vmpower("apply", str(empty)).stderr
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "byte 0 is not UTF-8 text" in vmpower("apply", str(binary)).stderr
    endless = vmpower("apply", "/dev/zero")
    assert endless.exit_code == 2
    assert "more than 65536 bytes" in endless.stderr
    missing = vmpower("apply", str(tmp_path / "missing"))
    assert missing.exit_code == 2
    assert "No such file" in missing.stderr
