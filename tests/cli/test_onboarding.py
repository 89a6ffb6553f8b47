from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from cli import onboarding
from cli.settings import Output, Settings
from domain_templates import validate
from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError, DomainGone, HypervisorError

if TYPE_CHECKING:
    from typer.testing import Result

DEFAULT = "test:///default"
"""libvirt's test driver: one running domain `test` with two vCPUs, eight CPUs."""


def run(*words: str, output: Output = Output.TABLE, uri: str = "") -> Result:
    app = typer.Typer()

    @app.callback()
    def settings(context: typer.Context) -> None:
        context.obj = Settings(output=output, uri=uri)

    app.command()(onboarding.add)
    app.command()(onboarding.pin)
    return CliRunner().invoke(app, words)


def test_a_domain_is_printed_and_nothing_is_touched() -> None:
    result = run("add", "router", "--vcpus", "2", "--pin", "5,3", "--type", "qemu")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert validate(result.stdout)
    root = parse_document(result.stdout)
    assert root.get("type") == "qemu"
    assert [pin.get("cpuset") for pin in root.iterfind("cputune/vcpupin")] == ["5", "3"]
    assert len(root.findall("devices/channel")) == 2


def test_relative_paths_are_the_operators() -> None:
    root = parse_document(run("add", "r", "--kernel", "vmlinuz").stdout)
    assert root.findtext("os/kernel") == str(Path.cwd() / "vmlinuz")


def test_who_pins_nothing_is_told_what_becomes_of_it() -> None:
    assert "vCPUs float" in run("add", "r").stderr


def test_a_domain_is_defined_and_said_so() -> None:
    result = run("add", "r", "--pin", "1", "--define", "-c", DEFAULT)
    assert result.exit_code == 0
    assert result.stdout.startswith("Domain 'r' defined (")


def test_a_domain_is_started_which_defines_it_first() -> None:
    result = run("add", "r", "--pin", "1", "--start", output=Output.JSON, uri=DEFAULT)
    told = json.loads(result.stdout)
    assert (told["schema"], told["name"], told["started"]) == (1, "r", True)


def test_the_uri_of_libvirts_own_variable_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", DEFAULT)
    assert run("add", "r", "--define").exit_code == 0
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+ssh://other/system")
    assert isinstance(run("add", "r", "--define").exception, ConfigError)


@pytest.mark.parametrize("word", ["test", "1", "6695eb01-f6a4-8304-79aa-97f2502e193f"])
def test_a_vcpu_is_pinned_in_a_domain_by_any_of_its_names(word: str) -> None:
    result = run("pin", word, "1", "3", "-c", DEFAULT)
    assert result.exit_code == 0, result.exception
    assert result.stdout == "vCPU 1 of 'test' is pinned to 3\n"


def test_a_pinning_is_told_to_programs() -> None:
    result = run("pin", "test", "0", "2-3", output=Output.JSON, uri=DEFAULT)
    assert json.loads(result.stdout) == {
        "schema": 1,
        "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f",
        "name": "test",
        "vcpu": 0,
        "pcpus": [2, 3],
    }


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("pin", "nobody", "0", "1"), DomainGone, "no domain 'nobody'"),
        (("pin", "test", "0", "8"), HypervisorError, "no CPU 8"),
        (("pin", "test", "0", ""), HypervisorError, "at least one CPU"),
        (("pin", "test", "0", "x"), ConfigError, "'x'"),
        (("pin", "test", "9", "1"), HypervisorError, "vcpu"),
        (("add", "a/b", "--define"), ConfigError, "no name"),
        (("add", "r", "--vcpus", "2", "--pin", "1"), ConfigError, "1 CPUs"),
        (("add", "r", "--cmdline", "quiet"), ConfigError, "needs a kernel"),
    ],
)
def test_what_cannot_be_is_an_error_of_ours(
    words: tuple[str, ...], error: type[Exception], says: str
) -> None:
    result = run(*words, uri=DEFAULT)
    assert result.stdout == ""
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
