# SPDX-License-Identifier: Apache-2.0
"""A copy of the product to which an example of CONTRIBUTING.md is applied."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "examples/contributing"
_NEEDED = ("orchestrator", "cli", "domain_templates", "scripts", "tests", "examples")


class PatchedCopy:
    """The product with one of the patches in `examples/contributing`."""

    def __init__(self, directory: Path, patch: str) -> None:
        """Copy the product and patch it.

        Args:
            directory: an empty one.
            patch: file name of the patch; it must apply without fuzz.
        """
        self._directory = directory
        text = (_EXAMPLES / patch).read_text(encoding="utf-8")
        self.files = re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)
        """The files that the patch changes or adds."""
        leave_out = shutil.ignore_patterns("__pycache__", "images")
        for name in _NEEDED:
            shutil.copytree(_ROOT / name, directory / name, ignore=leave_out)
        shutil.copy(_ROOT / "pyproject.toml", directory)
        subprocess.run(
            ["patch", "--strip=1", "--fuzz=0", "--quiet"],
            cwd=directory,
            input=text,
            text=True,
            check=True,
        )

    def run_tests(self, *arguments: str) -> tuple[int, str]:
        """Run pytest in the copy; return its exit status and its last line.

        The line is all of the output if a test failed.
        """
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                *arguments,
            ],
            cwd=self._directory,
            env={
                **os.environ,
                "PYTHONPATH": str(self._directory),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        output = result.stdout.strip()
        if result.returncode == 0:
            output = output.splitlines()[-1]
        return result.returncode, output
