# SPDX-License-Identifier: Apache-2.0
"""What is in the Debian packages and the wheel; a build can be repeated."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import run_process
from tests.daemon.trial_process import TrialProcess
from tests.packaging.debs import NATIVE, ROOT, build_again, build_debs

needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="not a Debian system"
)
COMPLETIONS = {"bash": "vmpower.bash", "zsh": "_vmpower", "fish": "vmpower.fish"}


def files_of(package: Path) -> set[str]:
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    listed = subprocess.run(
        ["tar", "-t"], input=archive, capture_output=True, check=True
    )
    return {
        line.removeprefix(".") for line in listed.stdout.decode().splitlines() if line
    }


def field_of(package: Path, name: str) -> str:
    command = ["dpkg-deb", "--field", str(package), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_dpkg
def test_the_package_has_all_that_an_application_needs() -> None:
    found = files_of(build_debs().vmpower)
    expected = {
        "/etc/vmpower/vmpower.toml",
        "/etc/vmpower/conf.d/",
        "/etc/vmpower/templates/",
        "/usr/bin/vmpower",
        "/usr/sbin/vmpowerd",
        "/usr/lib/sysusers.d/vmpower.conf",
        "/usr/share/bash-completion/completions/vmpower",
        "/usr/share/fish/vendor_completions.d/vmpower.fish",
        "/usr/share/zsh/vendor-completions/_vmpower",
        "/usr/share/man/man1/vmpower.1.gz",
        "/usr/share/man/man5/vmpower.toml.5.gz",
        "/usr/share/man/man8/vmpowerd.8.gz",
        "/usr/share/vmpower/cli/__main__.py",
        "/usr/share/vmpower/domain_templates/nfv.xml",
        "/usr/share/vmpower/orchestrator/monitor/process/__main__.py",
        "/usr/share/doc/vmpower/examples/unprivileged.conf",
    }
    assert expected - found == set()
    assert {path.removeprefix("/usr") for path in found} >= {
        "/lib/systemd/system/vmpowerd.service"
    }
    # No module of ours is on Python's path.
    assert not any("dist-packages" in path for path in found)


@needs_dpkg
def test_all_sources_are_in_the_package() -> None:
    found = files_of(build_debs().vmpower)
    for package in ("orchestrator", "cli", "domain_templates"):
        for path in (ROOT / package).rglob("*.py"):
            assert f"/usr/share/vmpower/{path.relative_to(ROOT)}" in found


@needs_dpkg
def test_the_guest_s_package_needs_only_python() -> None:
    package = build_debs().guest
    assert field_of(package, "Depends") == "python3:any"
    found = files_of(package)
    assert {"/usr/bin/vmpower-guest", "/usr/share/man/man1/vmpower-guest.1.gz"} <= found


@needs_dpkg
def test_the_guest_s_command_runs_from_its_package(tmp_path: Path) -> None:
    unpack = ["dpkg-deb", "-x", str(build_debs().guest), str(tmp_path)]
    subprocess.run(unpack, check=True)
    modules = tmp_path / "usr/share/vmpower-guest"
    launcher = tmp_path / "usr/bin/vmpower-guest"
    text = launcher.read_text().replace("/usr/share/vmpower-guest", str(modules))
    launcher.write_text(text)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(launcher), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: vmpower-guest" in done.stdout


@needs_dpkg
def test_a_trial_runs_from_the_package(tmp_path: Path) -> None:
    unpack = ["dpkg-deb", "-x", str(build_debs().vmpower), str(tmp_path)]
    subprocess.run(unpack, check=True)
    modules = tmp_path / "usr/share/vmpower"
    launcher = tmp_path / "usr/bin/vmpower"
    text = launcher.read_text().replace("/usr/share/vmpower", str(modules))
    launcher.write_text(text)
    program = (sys.executable, "-I", str(launcher))
    # Short: a socket's path has 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as directory,
        TrialProcess(Path(directory), program=program) as trial,
    ):
        trial.wait_until_ready()
        with trial.client() as client:
            monitor = client.status()["daemon"]["monitor_pid"]
        running = Path(f"/proc/{monitor}/cmdline").read_text(encoding="utf-8")
        assert str(modules) in running
        assert trial.interrupt() == 0


@needs_dpkg
def test_the_page_for_cockpit_is_where_its_bridge_looks() -> None:
    package = build_debs().cockpit
    pages = {path.name for path in (ROOT / "packaging/cockpit").iterdir()}
    assert pages
    assert {f"/usr/share/cockpit/vmpower/{name}" for name in pages} <= files_of(package)
    assert "cockpit-bridge (>= 287)" in field_of(package, "Depends")


@pytest.fixture(params=[NATIVE, 12])
def release(request: pytest.FixtureRequest) -> int:
    """Each release; the packages of 12 contain libraries, which PyPI has."""
    number: int = request.param
    if number != NATIVE and os.environ.get("VMPOWER_SERVICE") != "all":
        pytest.skip("make test-service builds it")
    return number


@needs_dpkg
def test_lintian_finds_nothing(release: int) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed (see scripts/packages.txt)")
    command = ["lintian", "--fail-on", "error,warning", "--allow-root"]
    done = subprocess.run(
        [*command, *map(str, build_debs(release=release))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_dpkg
def test_two_builds_are_the_same(release: int) -> None:
    first = build_debs(release=release)
    contents = [package.read_bytes() for package in first]
    again = build_again("0.1.0", release)
    assert [package.read_bytes() for package in again] == contents


@needs_dpkg
def test_debian_s_libraries_are_needed_only_where_none_are_contained(
    release: int,
) -> None:
    depends = field_of(build_debs(release=release).vmpower, "Depends")
    assert ("python3-pydantic" in depends) is (release == NATIVE)
    assert bool(re.search(r"python3-\w", depends)) is (release == NATIVE)


def test_the_package_depends_on_the_versions_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rules = (ROOT / "packaging/debian/rules").read_text()
    declared = set(re.findall(r"python3-([\w-]+) \((>=|<<) ([\d.]+)\)", rules))
    expected = {
        (name.removesuffix("-python"), ">=" if sign == ">=" else "<<", version)
        for line in project["dependencies"]
        for name in [re.split("[<>]", line)[0]]
        for sign, version in re.findall(r"(>=|<)([\d.]+)", line)
    }
    assert declared == expected


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_completions_are_what_the_command_prints(shell: str, tmp_path: Path) -> None:
    _, script, _ = run_process(tmp_path, "completion", shell)
    path = ROOT / "packaging/completions" / COMPLETIONS[shell]
    assert path.read_text() == script


def test_the_wheel_has_unit_completions_and_configuration() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    shared = tool["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for path in shared:
        assert (ROOT / path).is_file()
    names = {Path(target).name for target in shared.values()}
    assert {"vmpowerd.service", "vmpower.toml", "_vmpower", "vmpower.fish"} <= names
