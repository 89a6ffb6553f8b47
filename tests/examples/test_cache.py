# SPDX-License-Identifier: Apache-2.0
"""Each file that is slow to build is built once, beside others."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest

from examples.guests.cache import GuestError, cached

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMPOWER_CACHE", str(tmp_path))


def test_what_two_need_at_once_is_built_once() -> None:
    second = Thread(target=lambda: cached("disk", second_build))
    builds = []

    def first_build(path: Path) -> None:
        builds.append("first")
        second.start()
        path.write_text("whole")

    def second_build(path: Path) -> None:
        builds.append("second")
        path.write_text("again")

    assert cached("disk", first_build).read_text() == "whole"
    second.join()
    assert builds == ["first"]


def test_other_files_are_built_meanwhile() -> None:
    def build(path: Path) -> None:
        cached("kernel", lambda kernel: kernel.touch())
        path.touch()

    assert cached("disk", build).exists()


def test_what_cannot_be_built_is_built_at_the_next_attempt() -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise GuestError("no space left on device")

    with pytest.raises(GuestError, match="no space left"):
        cached("disk", fail)
    assert cached("disk", lambda path: path.touch()).read_text() == ""
