# SPDX-License-Identifier: Apache-2.0
"""A lock file that only its owner may open."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.system import lock_file
from orchestrator.system.lock_file import lock_private


def test_a_second_lock_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    first = lock_private(tmp_path / "lock")
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    with pytest.raises(BlockingIOError):
        lock_private(tmp_path / "lock")
    os.close(first)
    os.close(lock_private(tmp_path / "lock"))


def test_the_lock_of_a_removed_file_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = lock_private(path)
    path.unlink()  # as the holder does when it ends
    second = lock_private(path)
    os.close(first)
    with pytest.raises(BlockingIOError):
        lock_private(path)
    os.close(second)


def test_there_is_one_holder_at_most_while_files_are_created_and_removed(
    tmp_path: Path,
) -> None:
    path, held, seen = tmp_path / "lock", threading.Lock(), []

    def work() -> None:
        for _ in range(2_000):
            try:
                fd = lock_private(path)
            except BlockingIOError:
                continue
            seen.append(held.acquire(blocking=False))
            held.release()
            path.unlink()  # from here on another thread may hold the lock
            os.close(fd)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen
    assert all(seen)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic link"):
        lock_private(tmp_path / "lock")


def test_a_user_of_a_file_is_found_by_its_process_id(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    fd = lock_file.open_private(path)
    assert lock_file.find_user(fd) is None
    program = (
        "import sys; from pathlib import Path;"
        "from orchestrator.system import lock_file;"
        "lock_file.use(lock_file.open_private(Path(sys.argv[1])));"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as user:
        assert user.stdout is not None
        user.stdout.readline()
        assert lock_file.find_user(fd) == user.pid
        lock_file.lock(fd)  # which is another kind of lock
        user.kill()
    assert lock_file.find_user(fd) is None
    os.close(fd)


def test_a_file_that_cannot_have_users_has_none(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)  # which refuses locks
    assert lock_file.find_user(fd) is None
    os.close(fd)
