# SPDX-License-Identifier: Apache-2.0
"""Hostile journals: nothing but a clock group's own settings is ever written."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.power.group import Original
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.journal_document import (
    Document,
    decode_document,
    encode_document,
)
from orchestrator.power.mechanisms.registry import ORIGINALS
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR, CpuTree, policy_path
from tests.mutations import mutated
from tests.power.conftest import read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fuzz

GOVERNOR, SPEED = "scaling_governor", "scaling_setspeed"
VALID = encode_document(
    Document(
        tree="/sys",
        boot_id="4e2b3b6e-6f0c-4a44-9b0e-0c2b4bb0a6a1",
        groups={
            number: (
                Original(path=policy_path(number, SPEED), value=b"1200000\n"),
                Original(
                    path=policy_path(number, GOVERNOR),
                    value=b"schedutil\n",
                    taken_value=b"userspace",
                ),
            )
            for number in (0, 2)
        },
    )
).decode()
PIECES = ("{}", "[]", "null", '"0"', "../", "\\u0000", "userspace", "1e999", "-0", "é")


def check_document(data: bytes) -> None:
    """Decode a document; what is valid names permitted attributes only."""
    with suppress(ValueError):
        for number, originals in decode_document(data).groups.items():
            permitted = {policy_path(number, name) for name in ORIGINALS}
            assert {original.path for original in originals} <= permitted


@given(mutated((VALID,), PIECES))
def test_a_damaged_journal_is_invalid_or_names_only_its_attributes(text: str) -> None:
    check_document(text.encode())


@given(st.binary(max_size=4_000))
def test_random_bytes_are_no_journal(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_document(data)


class Host:
    """Two taken clock groups, and a victim beside the tree."""

    def __init__(self, directory: Path) -> None:
        lay_out(directory / "sys", cpus=4)
        (directory / "victim").write_text("precious")
        (directory / "sys" / CPU_DIR / "cpu0" / "link").symlink_to(directory)
        self.directory = directory
        self.tree = CpuTree(directory / "sys")
        self.journal = directory / JOURNAL_NAME
        for number in (0, 2):
            self.path(number, GOVERNOR).write_text("userspace\n")

    def path(self, number: int, name: str) -> Path:
        return self.tree.root / policy_path(number, name)

    def read_others(self) -> dict[str, bytes]:
        """Read all files but those that a journal may change, and journals."""
        settings = {
            str(self.path(number, name).relative_to(self.directory))
            for number in range(4)
            for name in ORIGINALS
        }
        return {
            name: value
            for name, value in read_all(self.directory).items()
            if name not in settings and not name.startswith(JOURNAL_NAME)
        }


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as name:
        yield Host(Path(name))


names = st.sampled_from(
    [GOVERNOR, SPEED, "scaling_max_freq", "scaling_cur_freq", "../../online", "", "."]
)
paths = st.one_of(
    st.builds(policy_path, st.integers(0, 5), names),
    st.sampled_from(
        [
            "../victim",
            f"{CPU_DIR}/cpu0/link/victim",
            f"{CPU_DIR}/cpu1/online",
            f"{CPU_DIR}/cpu0/cpufreq/{GOVERNOR}",
            f"{CPU_DIR}/cpufreq/boost",
            f"{CPU_DIR}/cpufreq/policy00/{GOVERNOR}",
            f"{CPU_DIR}/cpufreq/policy0/{GOVERNOR}\n",
        ]
    ),
    st.text(max_size=20),
)
values = st.sampled_from(["schedutil\n", "userspace\n", "9", ""]) | st.text(max_size=5)
entries = st.fixed_dictionaries(
    {"path": paths, "value": values}, optional={"ours": values}
)
numbers = st.sampled_from(["0", "1", "2", "5"])
well_typed = st.dictionaries(numbers, st.lists(entries, max_size=2), max_size=2)
junk = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers())
odd_numbers = st.sampled_from(["00", "-1", "٣", "9" * 5_000, "x"])
odd_values = st.sampled_from(["x" * 70_000, "€"]) | junk
odd_entries = st.fixed_dictionaries({"path": paths | junk, "value": odd_values})
odd = st.dictionaries(
    numbers | odd_numbers, st.lists(odd_entries | entries | junk, max_size=3) | junk
)


@given(groups=well_typed | odd | junk)
def test_replaying_any_document_changes_nothing_else(
    host: Host, groups: object
) -> None:
    before = host.read_others()
    document = {
        "schema": 1,
        "tree": host.tree.identity(),
        "boot_id": host.tree.boot_id(),
        "groups": groups,
    }
    host.journal.write_text(json.dumps(document))
    Journal(host.journal, host.tree).replay()
    assert host.read_others() == before
