# SPDX-License-Identifier: Apache-2.0
"""Builds the packages of this checkout, each set once for a run of the tests."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = 13
"""The release whose packages use its own libraries, and can be built on any other."""


class Debs(NamedTuple):
    """The packages of one build."""

    vmpower: Path
    guest: Path
    cockpit: Path


def _release_of_this_machine() -> int:
    system = platform.freedesktop_os_release()
    return int(system.get("VERSION_ID", NATIVE)) if system["ID"] == "debian" else 0


def build_debs(version: str = "0.1.0", release: int = NATIVE) -> Debs:
    """Build the packages once for a run of the tests, or skip the test with the reason.

    Args:
        version: of the packages; distinct ones can be built to test upgrades.
        release: of Debian; another one than `NATIVE` only on that release.
    """
    return _built(version, release)


def build_again(version: str, release: int) -> Debs:
    """Build the packages; as `build_debs`, but each time."""
    for program in ("dh", "dh_python3"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (see scripts/packages.txt)")
    if release != NATIVE and release != _release_of_this_machine():
        pytest.skip(f"packages of Debian {release} can only be built there")
    directory = Path(tempfile.mkdtemp(prefix="debs-"))
    variables = {
        "VMPOWER_DEB_RELEASE": str(release),
        "VMPOWER_DEB_VERSION": version,
        "VMPOWER_DEB_OUTPUT": str(directory),
    }
    done = subprocess.run(
        ["bash", "scripts/deb.sh"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cockpit, guest, vmpower = sorted(map(Path, done.stdout.split()))
    return Debs(vmpower, guest, cockpit)


_built = functools.cache(build_again)
