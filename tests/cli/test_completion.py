# SPDX-License-Identifier: Apache-2.0
"""Completion in real shells: with a daemon, with libvirt only, with neither."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.cli.commands import walk
from tests.cli.conftest import ROOT, environment, run_process
from tests.cli.tmux import TmuxTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.control.fake_daemon import FakeDaemon

DEADLINE_S = 60.0
NAMED = {
    "domain": "candidates.domains",
    "domains": "candidates.domains",
    "number": "candidates.channels",
    "policy": "candidates.policy_arguments",
    "cpus": "candidates.cpus or candidates.cpus_or_all",
    "template": "candidates.templates",
    "templates": "candidates.templates",
}
"""The completion function of arguments, by name."""
SHELLS = ["bash", "zsh", "fish"]


def require(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed (see scripts/packages.txt)")
    return found


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The command as an executable `vmpower`, in a directory for PATH."""
    path = tmp_path / "bin" / "vmpower"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m cli "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def script(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The completion script of the test's shell."""
    status, out, err = run_process(tmp_path, "completion", request.param)
    assert (status, err) == (0, "")
    path = tmp_path / "script"
    path.write_text(out)
    return path


def shell_variables(program: Path, run_dir: Path, **more: str) -> dict[str, str]:
    path = f"{program.parent}:{os.environ['PATH']}"
    return environment(run_dir, PATH=path, LIBVIRT_DEFAULT_URI="test:///default") | more


def complete_in_bash(variables: dict[str, str], script: Path, line: str) -> list[str]:
    """Complete a line in bash, with the function that the script registers."""
    words = line.split(" ")
    program = (
        f"source {script}; read -r _ _ _ _ function _ < <(complete -p vmpower);"
        ' COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "$function" vmpower;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [require("bash"), "--norc", "-c", program, "bash", *words],
        env=variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def complete_in_fish(variables: dict[str, str], script: Path, line: str) -> list[str]:
    done = subprocess.run(
        [
            require("fish"),
            "--no-config",
            "-c",
            f"source {script}; complete -C '{line}'",
        ],
        env=variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert done.stderr == ""
    return [found.split("\t")[0] for found in done.stdout.splitlines()]


def test_every_argument_that_names_something_is_completed() -> None:
    missing = [
        f"{context.command_path}: autocompletion={NAMED[param.name]}"
        for context in walk()
        for param in context.command.params
        if param.name in NAMED
        and param.param_type_name == "argument"
        and param._custom_shell_complete is None
    ]
    assert missing == []


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("vmpower dom", ["domain"]),
        ("vmpower domain sh", ["show"]),
        ("vmpower domain show dpdk-", ["dpdk-fw", "dpdk-router"]),
        ("vmpower domain onboard dpdk-fw w", ["web"]),
        ("vmpower channel disable dpdk-router ", ["0", "1", "9", "all"]),
        ("vmpower cpu show ", ["0-1", "2-3", "4-5", "all"]),
        ("vmpower cpu show 0-1,4", ["0-1,4-5"]),
        ("vmpower cpu set 2 22", ["2200MHz"]),
        ("vmpower cpu set 2 no", ["nominal"]),
        ("vmpower domain pin dpdk-fw ", ["0", "1", "2"]),
        ("vmpower policy set dpdk-fw ut", ["utilisation"]),
        ("vmpower policy set dpdk-fw workload ", ["high", "low", "vcpus="]),
        ("vmpower policy set dpdk-fw utilisation up", ["up-above="]),
        (
            "vmpower policy set dpdk-fw time-of-day otherwise=",
            ["otherwise=none", "otherwise=quiet"],
        ),
        ("vmpower policy remove dpdk-fw ", ["cli"]),
        ("vmpower template show n", ["nfv"]),
        ("vmpower domain add new --template mi", ["minimal"]),
        ("vmpower simulate cpus --driver amd", ["amd-pstate-guided", "amd-pstate-epp"]),
        ("vmpower status --out", ["--output"]),
        ("vmpower status --output j", ["json"]),
    ],
)
def test_bash_completes(
    line: str, words: list[str], script: Path, program: Path, run_dir: Path
) -> None:
    found = complete_in_bash(shell_variables(program, run_dir), script, line)
    assert set(words) <= set(found)
    assert all(word.startswith(line.split(" ")[-1]) for word in found)


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_completes(script: Path, program: Path, run_dir: Path) -> None:
    variables = shell_variables(program, run_dir, HOME=str(run_dir))
    assert complete_in_fish(variables, script, "vmpower dom") == ["domain"]
    line = "vmpower domain show dpdk-"
    assert complete_in_fish(variables, script, line) == ["dpdk-fw", "dpdk-router"]


@contextmanager
def interactive_shell(
    shell: tuple[str, ...], program: Path, run_dir: Path, *prepare: str
) -> Iterator[TmuxTerminal]:
    """Start an interactive shell in a terminal, and run commands that prepare it."""
    require(shell[0])
    kept = ("PATH", "VMPOWER_RUN_DIR", "LIBVIRT_DEFAULT_URI")
    variables = shell_variables(program, run_dir)
    with TmuxTerminal({name: variables[name] for name in kept}) as terminal:
        terminal.type(f"exec {' '.join(shell)}\n")
        for number, line in enumerate(prepare):
            terminal.type(f"{line}; echo do''ne-{number}\n")
            terminal.wait_for(f"done-{number}")
        yield terminal


def complete_a_name(terminal: TmuxTerminal) -> None:
    terminal.type("vmpower domain show dpdk-r\t")
    terminal.wait_for("vmpower domain show dpdk-router")


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_tab_completes_a_name_in_interactive_bash(
    script: Path, program: Path, run_dir: Path
) -> None:
    shell = ("bash", "--norc", "--noprofile", "-i")
    with interactive_shell(shell, program, run_dir, f"source {script}") as terminal:
        complete_a_name(terminal)


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_tab_completes_a_name_in_interactive_zsh(
    script: Path, program: Path, run_dir: Path
) -> None:
    prepare = ("autoload -U compinit; compinit -u -D", f"source {script}")
    with interactive_shell(("zsh", "-f", "-i"), program, run_dir, *prepare) as terminal:
        complete_a_name(terminal)


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_completes_the_first_time_from_its_functions(
    script: Path, program: Path, run_dir: Path
) -> None:
    functions = run_dir / "functions"
    functions.mkdir()
    script.rename(functions / "_vmpower")
    prepare = f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D"
    with interactive_shell(("zsh", "-f", "-i"), program, run_dir, prepare) as terminal:
        complete_a_name(terminal)


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_without_a_daemon_domains_come_from_libvirt(
    script: Path, program: Path, tmp_path: Path
) -> None:
    found = complete_in_bash(
        shell_variables(program, tmp_path), script, "vmpower domain show "
    )
    assert found == ["test"]


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_without_daemon_and_libvirt_completion_is_empty_and_fast(
    script: Path, program: Path, tmp_path: Path
) -> None:
    silent = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as libvirtd:
        libvirtd.bind(str(silent))
        libvirtd.listen()  # but never accept
        uri = f"qemu+unix:///system?socket={silent}"
        variables = shell_variables(program, tmp_path, LIBVIRT_DEFAULT_URI=uri)
        assert complete_in_bash(variables, script, "vmpower domain show ") == []
        assert complete_in_bash(variables, script, "vmpower channel disable x ") == [
            "all"
        ]
        assert complete_in_bash(variables, script, "vmpower cpu show ") == ["all"]


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_names_with_shell_characters_are_left_out(
    script: Path, program: Path, daemon: FakeDaemon, run_dir: Path
) -> None:
    (uuid, first), *_ = daemon.domains.items()
    evil = "dpdk-$(touch /tmp/evil)"
    daemon.domains[uuid] = first.model_copy(update={"name": evil})
    found = complete_in_bash(
        shell_variables(program, run_dir), script, "vmpower domain show dpdk-"
    )
    assert found == ["dpdk-router"]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_have_valid_syntax(shell: str, tmp_path: Path) -> None:
    _, out, _ = run_process(tmp_path, "completion", shell)
    path = tmp_path / "script"
    path.write_text(out)
    done = subprocess.run(
        [require(shell), "-n", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_a_usage_error(tmp_path: Path) -> None:
    status, out, err = run_process(tmp_path, "completion", "tcsh")
    assert (status, out) == (2, "")
    assert "tcsh" in err
