# SPDX-License-Identifier: Apache-2.0
"""Builds the packages of this checkout, each set once for a run of the tests."""

from __future__ import annotations

import functools
import os
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


@functools.cache
def build_debs(version: str = "0.1.0", release: int = NATIVE) -> Debs:
    """Build the packages, or skip the test with the reason.

    Args:
        version: of the packages; distinct ones can be built to test upgrades.
        release: of Debian; another one than `NATIVE` only on that release.
    """
    for program in ("dh", "dh_python3"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (see scripts/packages.txt)")
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
