# SPDX-License-Identifier: Apache-2.0
"""Valid contents of a journal, and the treatment of invalid ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import JournalError
from orchestrator.power.group import Original
from orchestrator.power.journal import Journal
from orchestrator.power.journal_document import (
    Document,
    decode_document,
    encode_document,
)
from orchestrator.power.mechanisms.registry import ORIGINALS
from orchestrator.power.sysfs import CPU_DIR, CpuTree, policy_path
from tests.power.conftest import read_all, rewrite, use

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.group import PreparedGroup


VALID_PATH = f"{CPU_DIR}/cpufreq/policy0/scaling_governor"


def entry(
    path: object = VALID_PATH, value: object = "ondemand\n", ours: object = "userspace"
) -> dict[str, object]:
    return {"0": [{"path": path, "value": value, "ours": ours}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"boot_id": None},
        {"tree": 7},
        {"groups": []},
        {"groups": {"zero": []}},
        {"groups": {"-1": []}},
        {"groups": {"0": {}}},
        {"groups": {"0": ["text"]}},
        {"groups": {"0": [{}]}},
        {"groups": entry(value=3)},
        {"groups": entry(ours=3)},
        {"groups": entry(value="\u20ac")},
        {"groups": entry(value="x" * 70_000)},
        {"groups": entry(path="/etc/passwd")},
        {"groups": entry(path="etc/passwd")},
        {"groups": entry(path=f"{CPU_DIR}/../../../etc/passwd")},
        {"groups": entry(path=f"{CPU_DIR}/cpufreq/..")},
        {"groups": entry(path=f"{CPU_DIR}/./online")},
        {"groups": entry(path=f"{CPU_DIR}/online\n")},
        {"groups": entry(path=f"{CPU_DIR}//online")},
        {"groups": entry(path=CPU_DIR)},
        {"groups": {"00": []}},
        {"groups": {"9" * 5_000: []}},
        {"groups": entry(path=f"{CPU_DIR}/cpufreq/policy1/scaling_governor")},
        {"groups": entry(path=f"{CPU_DIR}/cpu0/cpufreq/scaling_governor")},
        {"groups": entry(path=f"{CPU_DIR}/cpufreq/policy0/scaling_cur_freq")},
        {"groups": entry(path=f"{CPU_DIR}/cpufreq/boost")},
        {"groups": entry(path=f"{CPU_DIR}/cpu1/online")},
        {"groups": entry(path=f"{CPU_DIR}/cpu0/node0/compact")},
        {"groups": entry(path=f"{CPU_DIR}/cpu0/subsystem/drivers_autoprobe")},
    ],
)
def test_an_invalid_journal_is_set_aside_as_a_whole(
    journal: Journal,
    prepared: list[PreparedGroup],
    tree: CpuTree,
    path: Path,
    changes: dict[str, object],
) -> None:
    journal.record(*prepared)
    use(prepared[1])
    rewrite(path, **changes)
    now = read_all(tree.root)
    with pytest.raises(JournalError, match="invalid restore journal"):
        journal.read()
    replay = Journal(path, tree).replay()  # of the next daemon
    assert replay.set_aside == path.with_name("restore.json.unreadable")
    assert "invalid restore journal" in replay.reason
    assert read_all(tree.root) == now
    assert not path.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\0" * 512, b"\xff\xfe\x00", b"[" * 100_000],
    ids=["empty", "torn", "list", "null", "zeros", "bytes", "deep"],
)
def test_garbage_is_set_aside(journal: Journal, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert journal.replay().set_aside == path.with_name("restore.json.unreadable")


def test_a_truncated_journal_is_invalid(
    journal: Journal, prepared: list[PreparedGroup], path: Path
) -> None:
    journal.record(prepared[0])
    data = path.read_bytes()
    for length in range(len(data) - 1):  # without its last newline it is complete
        with pytest.raises(ValueError, match=r"."):
            decode_document(data[:length])


def group_of(number: int) -> st.SearchStrategy[tuple[int, tuple[Original, ...]]]:
    originals = st.builds(
        Original,
        path=st.sampled_from(sorted(ORIGINALS)).map(lambda n: policy_path(number, n)),
        value=st.binary(),
        taken_value=st.binary(),
    )
    return st.tuples(st.just(number), st.lists(originals, max_size=3).map(tuple))


@given(
    tree=st.text(),
    boot_id=st.text(),
    groups=st.lists(st.integers(0, 9_999).flatmap(group_of)).map(dict),
)
def test_an_encoded_document_is_decoded_again(
    tree: str, boot_id: str, groups: dict[int, tuple[Original, ...]]
) -> None:
    document = Document(tree=tree, boot_id=boot_id, groups=groups)
    assert decode_document(encode_document(document)) == document
