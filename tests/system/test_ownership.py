# SPDX-License-Identifier: Apache-2.0
"""Files that other users can change are not trusted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.system.ownership import (
    ForeignFileError,
    create_directory,
    open_directory,
    open_file,
)

if TYPE_CHECKING:
    from pathlib import Path

CREATE = """
import os, pathlib, sys
from orchestrator.system.ownership import create_directory
os.umask(int(sys.argv[2], 8))
create_directory(pathlib.Path(sys.argv[1]), 0o755)
"""


@pytest.mark.parametrize("umask", ["0", "077", "0777"])
def test_created_directories_have_their_mode_whatever_the_umask_is(
    tmp_path: Path, umask: str
) -> None:
    path = tmp_path / "a" / "b" / "c"
    subprocess.run([sys.executable, "-c", CREATE, path, umask], check=True)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, *path.parents[:2])]
    assert modes == [0o755] * 3


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o700)
    create_directory(tmp_path / "a", 0o755)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_what_only_this_user_can_change_is_opened(tmp_path: Path) -> None:
    os.close(open_directory(tmp_path))
    (tmp_path / "file").touch(0o644)
    os.close(open_file(tmp_path / "file", os.O_RDONLY))
    assert open_and_close(tmp_path / "new") == 0o600


def open_and_close(path: Path) -> int:
    os.close(open_file(path, os.O_RDWR | os.O_CREAT))
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "group-writable"])
def test_anything_else_in_place_of_a_file_is_refused_with_a_fix(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "file"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("elsewhere")
        case _:
            path.touch()
            path.chmod(0o620)
    with pytest.raises(ForeignFileError, match=str(path)) as caught:
        open_file(path, os.O_RDONLY)
    assert str(path) in caught.value.fix
    assert caught.value.filename == str(path)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        open_directory(tmp_path / "directory")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 1_234, -1)
    with pytest.raises(ForeignFileError, match="belongs to user 1234"):
        open_file(tmp_path / "file", os.O_RDONLY)
    os.chown(tmp_path, 1_234, -1)
    with pytest.raises(ForeignFileError, match="belongs to user 1234"):
        open_directory(tmp_path)
