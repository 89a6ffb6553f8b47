# SPDX-License-Identifier: Apache-2.0
"""Require that tests cover every branch of the pure packages.

Run it after ``pytest --cov``. Pure is what the import-linter contract "Decisions do no
I/O" of pyproject.toml lists, and the values. Such code has no excuse for an untested
branch; a line that no test can reach has ``# pragma: no cover - reason``.

Exit status: 0 covered, 1 not.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parent.parent
DATA_FILE = ROOT / ".cache" / "coverage" / "data"
CONTRACT = "Decisions do no I/O"
VALUES = "orchestrator.values"


def main(data_file: Path = DATA_FILE) -> int:
    """Print the branches that no test takes; return the exit status."""
    coverage = Coverage(data_file=str(data_file))
    coverage.load()
    share = coverage.report(include=pure_files(), skip_covered=True, show_missing=True)
    return 0 if share == 100.0 else 1


def pure_files() -> list[str]:
    """Return the pure packages and modules as patterns of file names."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    contract = next(each for each in contracts if each["name"] == CONTRACT)
    paths = [name.replace(".", "/") for name in (*contract["source_modules"], VALUES)]
    return [f"{path}/*" if (ROOT / path).is_dir() else f"{path}.py" for path in paths]


if __name__ == "__main__":
    sys.exit(main())
