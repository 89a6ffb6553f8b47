# SPDX-License-Identifier: Apache-2.0
"""Journals that somebody has damaged or made up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.power.group import Original
from orchestrator.power.journal_document import (
    Document,
    decode_document,
    encode_document,
)
from orchestrator.power.sysfs import CPU_DIR, MAX_VALUE_BYTES, policy_path
from tests.mutations import mutated
from tests.properties import examples

pytestmark = pytest.mark.fuzz

VALID = encode_document(
    Document(
        tree="/sys",
        boot_id="ac9f0d4e-5f0c-4c3f-9f7b-0c5b7d5f1f3a",
        groups={
            n: (
                Original(
                    path=policy_path(n, "scaling_setspeed"), value=b"1", taken_value=b""
                ),
                Original(
                    path=policy_path(n, "scaling_governor"),
                    value=b"schedutil\n",
                    taken_value=b"userspace",
                ),
            )
            for n in (0, 12)
        },
    )
).decode()
PIECES = (
    *("..", "/", "//", "/../..", "./", "\\u0000", "\\u2603", "devices/system/cpu", '"'),
    *("{", "}", "[", "]", ",", ":", "null", "-1", "1e999", "9" * 5_000, "NaN", "true"),
    *('"0": []', '"path"', '"groups": {}', "schema", "[" * 20_000),
)


@settings(max_examples=examples(200), deadline=None)
@given(mutated([VALID], PIECES).map(lambda text: text.encode("utf-8", "replace")))
def test_a_damaged_journal_names_only_files_of_cpus_or_is_invalid(data: bytes) -> None:
    _check(data)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1)
)
def test_a_journal_with_other_bytes_names_only_files_of_cpus_or_is_invalid(
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray(VALID.encode())
    for at, byte in changes:
        data[at] = byte
    _check(bytes(data))


def _check(data: bytes) -> None:
    try:
        document = decode_document(data)
    except ValueError:
        return
    for originals in document.groups.values():
        for original in originals:
            directory, *parts = original.path.split(f"{CPU_DIR}/", 1)
            assert directory == ""
            assert parts
            assert not {"", ".", ".."} & set(parts[0].split("/"))
            assert len(original.value) <= MAX_VALUE_BYTES
    assert decode_document(encode_document(document)) == document
