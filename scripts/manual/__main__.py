# SPDX-License-Identifier: Apache-2.0
"""`make man`: write the manual pages into a directory."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.manual.pages import build_pages


def main() -> None:
    """Write all pages to the directory given on the command line."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/man")
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in build_pages().items():
        (directory / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
