# SPDX-License-Identifier: Apache-2.0
"""The tests that documents name exist."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from tests.cli.commands import walk

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "conformance-functions.md"
MIGRATION = ROOT / "docs" / "from-vm-power-manager.md"
TYPED_THERE = [
    *("add_vm", "rm_vm", "add_channels", "set_channel_status", "show_vm", "set_query"),
    *("set_pcpu", "set_pcpu_mask", "show_cpu_freq", "show_cpu_freq_mask"),
    *("set_cpu_freq", "set_cpu_freq_mask", "quit"),
    *("-p MASK", "--port-list", "--core-list", "--core-branch-ratio", "--branch-ratio"),
    *("command", "policy_type", "workload", "busy_hours", "quiet_hours", "mac_list"),
    *("avg_packet_thresh", "max_packet_thresh", "unit", "name", "core_list"),
    *("resource_id", "create", "destroy", "power", "TIME", "TRAFFIC", "WORKLOAD"),
    *("BRANCH_RATIO", "HIGH", "MEDIUM", "LOW", "SCALE_UP", "SCALE_DOWN", "SCALE_MAX"),
    *("SCALE_MIN", "ENABLE_TURBO", "DISABLE_TURBO"),
]
"""Commands, options, keys and values of DPDK's vm_power_manager, 1.8 to 26.07."""
_REFERENCE = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_each_test_in_the_table_of_functions_exists() -> None:
    references = _REFERENCE.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(references) > 40
    missing = [
        f"{file}::{name}"
        for file, name in references
        if not re.search(
            rf"^(async )?def {name}\(" if name else "",
            (ROOT / file).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert missing == []


def test_each_area_of_dpdk_s_test_plans_has_tests() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [row for row in text.partition("| Area |")[2].splitlines() if row[:1] == "|"]
    assert len(rows) > 12
    named = {row: [name for _, name in _REFERENCE.findall(row)] for row in rows[1:]}
    strange = [
        name
        for names in named.values()
        for name in names
        if not name.startswith("test_dts_")
    ]
    assert strange == []


def test_each_replacement_is_an_existing_command() -> None:
    commands = {
        context.command_path: context
        for context in walk()
        if not hasattr(context.command, "list_commands")
    }
    lines = re.findall(r"`(vmpower [a-z][^`]*)`", MIGRATION.read_text(encoding="utf-8"))
    assert len(lines) > 15
    for line in lines:
        for way in spellings(
            line.replace("\\|", "|").replace("[", "").replace("]", "")
        ):
            words = way.split()
            paths = [" ".join(words[:length]) for length in range(len(words), 1, -1)]
            path = next((path for path in paths if path in commands), "")
            assert path, way
            context = commands[path]
            known = {
                option
                for parameter in context.command.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
            assert {word for word in words if word.startswith("--")} <= known, way


def spellings(line: str) -> list[str]:
    """Expand the alternatives of ``a|b`` in each word."""
    ways = [word.split("|") for word in line.split()]
    return [" ".join(way) for way in itertools.product(*ways)]


def test_each_input_of_that_program_is_documented() -> None:
    text = MIGRATION.read_text(encoding="utf-8")
    assert [word for word in TYPED_THERE if word not in text] == []


def test_each_number_has_its_row() -> None:
    rows = re.findall(
        r"^\| (F\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [f"F{number}" for number in range(1, 26)]
