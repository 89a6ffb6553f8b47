# SPDX-License-Identifier: Apache-2.0
"""The order in which limits are written, and what a refused write leaves."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.writer import UNUSABLE, LimitsWriter, SetspeedWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Attributes:
    """Files that are written like attributes, and the order of the writes."""

    def __init__(self, directory: Path) -> None:
        self._paths = [directory / name for name in LimitsWriter.ATTRIBUTES]
        for path in self._paths:
            path.write_text("")
        self.fds = [os.open(path, os.O_RDWR) for path in self._paths]

    def values(self) -> list[str]:
        return [path.read_text().partition("\n")[0] for path in self._paths]


@pytest.fixture
def attributes(tmp_path: Path) -> Iterator[Attributes]:
    found = Attributes(tmp_path)
    yield found
    for fd in found.fds:
        os.close(fd)


def refuse(attributes: Attributes, index: int) -> int:
    """Refuse writes of one attribute (ENOSPC); return its former descriptor."""
    good = os.dup(attributes.fds[index])
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, attributes.fds[index])
    os.close(full)
    return good


def test_both_limits_become_the_frequency(attributes: Attributes) -> None:
    writer = LimitsWriter(attributes.fds)
    for khz in ("2000000", "3000000", "1000000"):
        writer.write(f"{khz}\n".encode())
        assert attributes.values() == [khz, khz]


def test_a_refused_second_write_is_an_error_and_is_repaired_by_the_next(
    attributes: Attributes,
) -> None:
    writer = LimitsWriter(attributes.fds)
    writer.write(b"2000000\n")
    good = refuse(attributes, 1)
    with pytest.raises(OSError, match="No space left") as caught:
        writer.write(b"3000000\n")
    assert caught.value.errno == errno.ENOSPC
    assert attributes.values() == ["3000000", "2000000"]
    os.dup2(good, attributes.fds[1])
    os.close(good)
    writer.write(b"3000000\n")
    assert attributes.values() == ["3000000", "3000000"]


@pytest.mark.parametrize(
    ("index", "first", "second", "expected"),
    [
        # Raising: the maximum is written first, and is not refused.
        (1, "2000000", "3000000", ["3000000", "2000000"]),
        # Lowering: the minimum first. Its refusal leaves the maximum.
        (1, "3000000", "2000000", ["3000000", "3000000"]),
        (0, "2000000", "3000000", ["2000000", "2000000"]),
        (0, "3000000", "2000000", ["3000000", "2000000"]),
    ],
)
def test_the_limit_in_the_direction_of_the_change_is_written_first(
    attributes: Attributes, index: int, first: str, second: str, expected: list[str]
) -> None:
    writer = LimitsWriter(attributes.fds)
    writer.write(f"{first}\n".encode())
    os.close(refuse(attributes, index))
    with pytest.raises(OSError, match="No space left"):
        writer.write(f"{second}\n".encode())
    assert attributes.values() == expected


def test_a_frequency_is_one_write(attributes: Attributes) -> None:
    writer = SetspeedWriter(attributes.fds[:1])
    writer.write(b"2000000\n")
    assert attributes.values() == ["2000000", ""]


def test_without_descriptors_a_frequency_is_refused() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        UNUSABLE.write(b"2000000\n")
