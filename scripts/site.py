# SPDX-License-Identifier: Apache-2.0
"""Build the documentation as a site in dist/docs, which needs no server.

The documents keep the layout of the repository, so that each link that works there
works in the site. Manual pages become pages, as a terminal shows them. Every link and
anchor is checked: a wrong one is an error.

    python -m scripts.site
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
STAGE = CHECKOUT / ".cache" / "site"
SITE = CHECKOUT / "dist" / "docs"
CONFIG = CHECKOUT / "docs" / "mkdocs.yml"
TOP = [
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASE.md", "CHANGELOG.md"),
    "tests/README.md",
]
_LINK = re.compile(r"\]\(([^()\s#]+)(#[^()\s]*)?\)")
_MANUAL_PAGE = re.compile(r"\.[1-8]$")
_COLUMNS = 88


def stage(target: Path) -> None:
    """Copy the documents, and the files that they link to, to a directory."""
    shutil.rmtree(target, ignore_errors=True)
    sources = [CHECKOUT / name for name in TOP]
    sources += sorted((CHECKOUT / "docs").rglob("*.md"))
    for source in sources:
        text = source.read_text(encoding="utf-8")
        copied = target / source.relative_to(CHECKOUT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(_LINK.sub(_to_staged, text), encoding="utf-8")
        for link, _ in _LINK.findall(text):
            _copy_linked((source.parent / link).resolve(), target)


def _to_staged(link: re.Match[str]) -> str:
    path, anchor = link[1], link[2] or ""
    return f"]({path}.md)" if _MANUAL_PAGE.search(path) else f"]({path}{anchor})"


def _copy_linked(file: Path, target: Path) -> None:
    """Copy a file that a document links to, unless it is a document or elsewhere."""
    if file.suffix == ".md" or not file.is_file():
        return
    copied = target / file.relative_to(CHECKOUT)
    copied.parent.mkdir(parents=True, exist_ok=True)
    if _MANUAL_PAGE.search(file.name):
        page = f"# {file.stem}({file.suffix[1:]})\n\n```text\n{_format(file)}```\n"
        copied.with_name(f"{file.name}.md").write_text(page, encoding="utf-8")
    else:
        shutil.copyfile(file, copied)


def _format(manual_page: Path) -> str:
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", f"width={_COLUMNS}", manual_page],
        check=True,
        capture_output=True,
        text=True,
    )
    return re.sub(".\b", "", done.stdout)


def render(staged: Path, target: Path) -> int:
    """Build the site from staged documents; return the status of mkdocs."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", CONFIG],
        # Else the theme announces its successor at each run.
        env={
            **os.environ,
            "NO_MKDOCS_2_WARNING": "1",
            "VMPOWER_SITE_STAGE": str(staged),
            "VMPOWER_SITE": str(target),
        },
        check=False,
    )
    return done.returncode


def build(staged: Path, target: Path) -> int:
    """Stage the documents and build the site; return the status of mkdocs."""
    stage(staged)
    return render(staged, target)


if __name__ == "__main__":
    raise SystemExit(build(STAGE, SITE))
