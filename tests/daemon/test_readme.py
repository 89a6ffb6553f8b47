# SPDX-License-Identifier: Apache-2.0
"""The commands that the README proposes to try by hand run, line by line."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from tests.daemon.daemon_process import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

README = CHECKOUT / "README.md"
SECTION = "## Try it by hand"


def test_what_the_readme_shows_can_be_pasted(directory: Path) -> None:
    section = README.read_text(encoding="utf-8").partition(SECTION)[2]
    block = section.partition("```console\n")[2].partition("```")[0]
    script = re.sub("^[$] ", "", block, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=CHECKOUT,
        env={
            **os.environ,
            "LIBVIRT_DEFAULT_URI": "test:///default",
            "PYTHONPATH": str(CHECKOUT),
            "TMPDIR": str(directory),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2.10 GHz" in done.stdout
    assert list(directory.iterdir()) == []
