# SPDX-License-Identifier: Apache-2.0
"""`vmpower top` in a real terminal, with a fake daemon on real sockets."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from scripts.pictures import busy_daemon
from tests.cli.conftest import run_process
from tests.cli.tmux import PROMPT, TmuxTerminal
from tests.control.fake_daemon import serving
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is not installed"
)


@pytest.fixture
def terminal(run_dir: Path) -> Iterator[TmuxTerminal]:
    with TmuxTerminal({"VMPOWER_RUN_DIR": str(run_dir)}) as terminal:
        yield terminal


def stty_settings(terminal: TmuxTerminal) -> str:
    """Return the settings of the terminal, from `stty`."""
    terminal.type("clear; stty -g; echo $?-done\n")
    seen = terminal.wait_for(lambda s: bool(re.search(r"\d-done\n" + PROMPT, s)))
    return next(line for line in seen.splitlines() if line.count(":") > 10)


def start(terminal: TmuxTerminal, *options: str) -> str:
    terminal.run("top", *options)
    return terminal.wait_for("q quit")


def wait_for_shell(terminal: TmuxTerminal) -> str:
    return terminal.wait_for(lambda s: s.rstrip().endswith(PROMPT) and "quit" not in s)


def test_keys_work_and_quitting_restores_the_terminal(terminal: TmuxTerminal) -> None:
    before = stty_settings(terminal)
    start(terminal)
    seen = terminal.wait_for("channel 0 is open")
    assert len(seen.splitlines()) == 24
    assert max(map(len, seen.splitlines())) <= 80
    for word in ("dpdk-fw", "2-3 ", "CPUs by clock group"):
        assert word in seen
    terminal.press("Down", "Enter")
    terminal.wait_for("11111111-1111-4111-8111-111111111111")
    terminal.press("?")
    terminal.wait_for("this help")
    terminal.press("Escape")
    terminal.press("Escape")
    terminal.press("/")
    terminal.type("rou")
    terminal.wait_for("filter: rou")
    terminal.press("Enter", "s", "p")
    terminal.wait_for(lambda s: "PAUSED" in s and "sort: frequency" in s)
    terminal.press("q")
    seen = wait_for_shell(terminal)
    assert seen.split() == ["before", PROMPT]
    terminal.type("echo left-with-$?\n")
    terminal.wait_for("left-with-0")
    assert stty_settings(terminal) == before


def test_a_resize_redraws_at_once(terminal: TmuxTerminal) -> None:
    start(terminal, "--delay", "600")
    terminal.resize(132, 40)
    terminal.wait_for(lambda s: "Requests  Refused" in s and "q quit" in s[-200:])
    terminal.resize(60, 12)
    terminal.wait_for(lambda s: len(s.splitlines()) == 12 and "q quit" in s)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_a_signal_quits_and_restores_the_terminal(
    terminal: TmuxTerminal, number: int, status: int
) -> None:
    before = stty_settings(terminal)
    start(terminal)
    os.kill(terminal.children()[0], number)
    wait_for_shell(terminal)
    terminal.type("echo left-with-$?\n")
    terminal.wait_for(f"left-with-{status}")
    assert stty_settings(terminal) == before


def test_ctrl_z_suspends_and_fg_resumes(
    terminal: TmuxTerminal,
) -> None:
    before = stty_settings(terminal)
    start(terminal)
    terminal.press("C-z")
    wait_for_shell(terminal)
    assert stty_settings(terminal) == before
    terminal.type("fg\n")
    terminal.wait_for("q quit")
    terminal.press("w")
    terminal.wait_for("esc back")
    terminal.press("q")
    wait_for_shell(terminal)
    assert stty_settings(terminal) == before


def test_a_crash_restores_the_terminal(terminal: TmuxTerminal) -> None:
    before = stty_settings(terminal)
    program = (
        "from cli.__main__ import main;"
        "import cli.top.loop as l; l.render_screen = lambda *a: 1/0; main()"
    )
    terminal.type(f"clear; {sys.executable} -c '{program}' top\n")
    terminal.wait_for("ZeroDivisionError")
    assert stty_settings(terminal) == before


def test_a_lost_daemon_is_reported_and_reconnected(tmp_path: Path) -> None:
    with (
        ExitStack() as first,
        TmuxTerminal({"VMPOWER_RUN_DIR": str(tmp_path)}, width=120) as terminal,
    ):
        first.enter_context(serving(tmp_path))
        start(terminal, "--delay", "0.1")
        first.close()
        seen = terminal.wait_for("vmpowerd does not respond, retrying")
        assert "dpdk-fw" in seen
        with serving(tmp_path):
            terminal.wait_for("libvirt connected")
            terminal.press("q")
            wait_for_shell(terminal)


def test_no_color_draws_without_colors(run_dir: Path) -> None:
    variables = {"VMPOWER_RUN_DIR": str(run_dir), "NO_COLOR": "1"}
    with TmuxTerminal(variables) as terminal:
        start(terminal)
        terminal.wait_for("channel 0 is open")
        assert not re.search(
            r"\x1b\[[\d;]*[39][0-7]", terminal.screen(with_colors=True)
        )


def test_requests_of_guests_of_a_real_daemon_are_shown() -> None:
    with (
        busy_daemon() as daemon,
        TmuxTerminal({"VMPOWER_RUN_DIR": str(daemon.run_dir)}) as terminal,
    ):
        start(terminal, "--delay", "0.2")
        terminal.wait_for(lambda s: bool(re.search(r"dpdk-fw .* GHz .* [1-9]\d ", s)))
        seen = terminal.wait_for("floats over CPUs 0-7")
        assert "simulated CPUs" in seen
        terminal.press("q")
        wait_for_shell(terminal)


def test_without_a_terminal_it_suggests_alternatives(run_dir: Path) -> None:
    status, out, err = run_process(run_dir, "top")
    assert (status, out) == (2, "")
    assert err.startswith("error: 'vmpower top' needs a terminal\nhint: ")


def test_without_a_daemon_it_does_not_start(tmp_path: Path) -> None:
    status, out, err = run_process(tmp_path, "top")
    assert (status, out) == (3, "")
    assert "no vmpowerd answers" in err


def test_a_screen_is_exported_without_a_terminal(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "top.svg"
    status, out, err = run_process(run_dir, "top", "--svg", str(file), "-d", "0.1")
    assert (status, out, err) == (0, "", "")
    svg = wait_for(lambda: file.read_text(encoding="utf-8"), "the picture")
    assert "dpdk-router" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )


def test_the_old_name_of_samples_is_accepted_but_not_listed(
    run_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "top.svg"
    arguments = ("top", "--svg", str(file), "--looks", "2", "-d", "0.1")
    assert run_process(run_dir, *arguments) == (0, "", "")
    assert "dpdk-router" in file.read_text(encoding="utf-8")
    _, text, _ = run_process(run_dir, "top", "--help")
    assert "--samples" in text
    assert "--looks" not in text


def test_a_failing_export_is_an_error(run_dir: Path) -> None:
    status, _, err = run_process(run_dir, "top", "--svg", "/proc/x.svg", "-d", "0.1")
    assert (status, err.splitlines()[0][:29]) == (1, "error: cannot write /proc/x.s")
