# SPDX-License-Identifier: Apache-2.0
"""`--watch`, into a pipe and on a terminal."""

from __future__ import annotations

import json
import re
import shutil
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import run_process, start_process
from tests.cli.tmux import PROMPT, TmuxTerminal
from tests.control.fake_daemon import serving

if TYPE_CHECKING:
    from pathlib import Path

needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is not installed"
)
WATCHABLE = {
    "status": "dpdk-fw",
    "domain list": "shut off",
    "channel list": "contended",
    "cpu list": "acpi-cpufreq",
}


@pytest.mark.parametrize("command", WATCHABLE)
def test_a_pipe_gets_a_table_per_refresh(run_dir: Path, command: str) -> None:
    arguments = [*command.split(), "--watch", "0.1"]
    with start_process(run_dir, *arguments) as process:
        assert process.stdout is not None
        seen = 0
        while seen < 3:
            seen += WATCHABLE[command] in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


def test_as_json_every_refresh_is_one_line(run_dir: Path) -> None:
    with start_process(run_dir, "status", "-w", "0.1", "-o", "json") as process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert [document["schema"] for document in documents] == [1, 1]


@pytest.mark.parametrize(
    "words",
    [
        ("--watch",),
        ("--watch", "-o", "table"),
        ("-w", "5"),
        ("-w5",),
        ("--watch=.5",),
    ],
    ids=" ".join,
)
def test_the_interval_is_optional(run_dir: Path, words: tuple[str, ...]) -> None:
    with start_process(run_dir, "status", *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(" Daemon:")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("word", ["--watch=0", "--watch=soon"])
def test_an_invalid_interval_is_refused(run_dir: Path, word: str) -> None:
    status, out, err = run_process(run_dir, "status", word)
    assert (status, out) == (2, "")
    assert "--watch" in err


def test_a_pipe_exits_with_3_when_the_daemon_stops(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(serving(tmp_path))
        with start_process(tmp_path, "cpu", "list", "--watch", "0.1") as process:
            assert process.stdout is not None
            process.stdout.readline()
            stack.close()
            _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert err.startswith("error: ")


@needs_tmux
def test_a_full_screen_refreshes_scrolls_and_restores_the_terminal(
    run_dir: Path,
) -> None:
    variables = {"VMPOWER_RUN_DIR": str(run_dir)}
    with TmuxTerminal(variables, width=80, height=10) as terminal:
        terminal.run("status", "--watch", "0.1")
        seen = terminal.wait_for("every 0.1 s, q to quit")
        assert "more lines (scroll with arrow keys)" in seen
        assert len(seen.splitlines()) == 10
        terminal.press("End")
        terminal.wait_for("without channels")
        run_process(run_dir, "cpu", "set", "2", "1.8GHz")
        terminal.press("Home")
        terminal.wait_for("1 overridden")
        terminal.press("q")
        seen = terminal.wait_for(lambda s: s.rstrip().endswith(PROMPT))
        assert seen.split() == ["before", PROMPT]


@needs_tmux
def test_a_full_screen_reports_a_lost_daemon_and_reconnects(
    tmp_path: Path,
) -> None:
    with (
        ExitStack() as first,
        # Wide enough for the line that names the socket's path.
        TmuxTerminal({"VMPOWER_RUN_DIR": str(tmp_path)}, width=160) as terminal,
    ):
        first.enter_context(serving(tmp_path))
        terminal.run("domain", "list", "-w", "0.1")
        terminal.wait_for("dpdk-fw")
        first.close()
        seen = terminal.wait_for("retrying")
        assert "dpdk-fw" in seen
        with serving(tmp_path):
            terminal.wait_for("every 0.1 s, q to quit")
            terminal.press("C-c")
            terminal.wait_for(lambda s: s.rstrip().endswith(PROMPT))


def test_the_status_is_exported_as_a_picture(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "status.svg"
    status, out, err = run_process(run_dir, "status", "--svg", str(file), NO_COLOR="1")
    assert (status, out, err) == (0, "", "")
    svg = file.read_text(encoding="utf-8")
    assert "dpdk-router" in svg
    assert "@font-face" not in svg
    assert len(set(re.findall(r"fill: (#\w+)", svg))) > 3
