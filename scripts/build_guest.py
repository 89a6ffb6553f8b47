# SPDX-License-Identifier: Apache-2.0
"""Build `vmpower-guest.pyz`: one file to copy into a guest that has Python 3.9.

Usage: build_guest.py [OUTPUT]. The build is reproducible. An OUTPUT that ends with a
slash is a directory, which gets the modules instead: a package has its own launcher.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
OUTPUT = CHECKOUT / "dist" / "vmpower-guest.pyz"

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = """\
from orchestrator.guest.__main__ import entry

entry()
"""
# The earliest time of a zip entry: file times would make the build irreproducible.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
# The command imports all its modules at startup; async_clock is for library users.
_LIST_MODULES = """\
import sys
import orchestrator.guest.__main__
import orchestrator.guest.async_clock
for name in sorted(sys.modules):
    if name.partition(".")[0] == "orchestrator":
        print(sys.modules[name].__file__)
"""


def list_sources() -> list[Path]:
    """Return the files of this package that `vmpower-guest` imports."""
    done = subprocess.run(
        # Without site-packages: an import outside the standard library fails here.
        [sys.executable, "-S", "-E", "-c", _LIST_MODULES],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Path(line) for line in done.stdout.splitlines()]


def build(output: Path) -> None:
    """Write the archive."""
    sources = list_sources()
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, "__main__.py", _MAIN)
            for path in sources:
                name = path.relative_to(CHECKOUT).as_posix()
                _add(archive, name, path.read_text(encoding="utf-8"))
    output.chmod(0o755)


def unpack(directory: Path) -> None:
    """Copy the modules into a directory."""
    for path in list_sources():
        target = directory / path.relative_to(CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o644)


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = _MODE
    entry.create_system = 3  # Unix, on any build host
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, text)


if __name__ == "__main__":
    words = sys.argv[1:] or [str(OUTPUT)]
    chosen = Path(words[0])
    if words[0].endswith("/"):
        unpack(chosen)
    else:
        build(chosen)
    sys.stdout.write(f"{chosen}\n")
