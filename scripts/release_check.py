# SPDX-License-Identifier: Apache-2.0
"""`make release-check`: what must be true of a checkout before it is tagged.

Prints each condition that does not hold; the exit status is 1 if there is one. Tests
are separate: RELEASE.md lists what else a release takes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
_GENERATED = ("docs/man", "docs/api.md", "docs/json.md", "examples/vmpower.toml")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def uncommitted_changes() -> str:
    """Describe changes that are not committed."""
    changed = _run("git", "status", "--porcelain").stdout.split("\n")
    return ", ".join(line[3:] for line in changed if line)


def changelog_problem(text: str, version: str) -> str:
    """Describe what is wrong with a changelog for a release of this version.

    Args:
        text: of the changelog.
        version: that is to be released.
    """
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    titles = [section.partition("\n")[0].strip() for section in sections]
    if titles[:1] != ["[Unreleased]"]:
        return "the first section is not [Unreleased]"
    if sections[0].partition("\n")[2].strip():
        return "the section [Unreleased] is not empty"
    dated = rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d"
    if len(titles) < 2 or not re.fullmatch(dated, titles[1]):
        return f"the second section is not [{version}] with a date"
    return ""


def _changelog() -> str:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return changelog_problem(text, __version__)


def _existing_tag() -> str:
    tag = f"v{__version__}"
    return f"{tag} exists" if _run("git", "tag", "--list", tag).stdout.strip() else ""


def _outdated_files() -> str:
    for module in ("scripts.manual", "scripts.manual.commented", "scripts.api"):
        _run(sys.executable, "-m", module)
    return _run("git", "diff", "--name-only", "--", *_GENERATED).stdout.strip()


def _broken_documents() -> str:
    done = _run(sys.executable, "-m", "pytest", "-q", "tests/docs")
    return done.stdout[-1000:] if done.returncode else ""


def _distribution_commands(directory: Path) -> Iterator[tuple[str, ...]]:
    builder, fresh = directory / "builder/bin", directory / "fresh/bin"
    archives = directory / "archives"
    wheel = archives / f"vmpower-{__version__}-py3-none-any.whl"
    yield sys.executable, "-m", "venv", str(builder.parent)
    yield str(builder / "pip"), "install", "--quiet", "build"
    # The wheel is built from the source archive.
    yield str(builder / "python"), "-m", "build", "--outdir", str(archives)
    yield sys.executable, "-m", "venv", str(fresh.parent)
    yield str(fresh / "pip"), "install", "--quiet", str(wheel)
    for program in ("vmpower", "vmpowerd", "vmpower-guest"):
        yield str(fresh / program), "--version"


def _failing_distributions() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for command in _distribution_commands(directory):
            done = _run(*command)
            if done.returncode:
                return f"{' '.join(command)}: {done.stderr[-1000:]}"
        files = [directory / "fresh" / target for target in shared.values()]
        return ", ".join(f"no {file}" for file in files if not file.is_file())


def _failing_packages() -> str:
    done = _run("bash", "scripts/deb.sh")
    return done.stderr[-1000:] if done.returncode else ""


CHECKS: dict[str, Callable[[], str]] = {
    "uncommitted changes": uncommitted_changes,
    "CHANGELOG.md": _changelog,
    "tag": _existing_tag,
    "outdated generated files": _outdated_files,
    "documents": _broken_documents,
    "source archive and wheel": _failing_distributions,
    "Debian packages": _failing_packages,
}
"""Each returns what is wrong, or nothing."""


def main() -> int:
    """Run all checks; return the exit status."""
    status = 0
    for name, check in CHECKS.items():
        problem = check()
        print(f"{name}: {problem or 'ok'}", flush=True)  # noqa: T201 - a command
        status = 1 if problem else status
    return status


if __name__ == "__main__":
    sys.exit(main())
