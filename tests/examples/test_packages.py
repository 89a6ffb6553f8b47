# SPDX-License-Identifier: Apache-2.0
"""Debian packages that are unpacked and not installed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from examples.guests.packages import Archive, UnavailableError
from tests.rig.lab import prepare_lab
from tests.rig.labs import CPPC_ARM

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache, and no network: nothing listens on port 9."""
    monkeypatch.setenv("VMPOWER_CACHE", str(tmp_path))
    settings = tmp_path / "apt.conf"
    proxies = "".join(
        f'Acquire::{scheme}::Proxy "http://127.0.0.1:9";\n'
        for scheme in ("http", "https")
    )
    settings.write_text(f'{proxies}Acquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(settings))
    return tmp_path


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get not found")
def test_without_network_an_error_names_what_cannot_be_downloaded(
    cache: Path,
) -> None:
    archive = Archive("bookworm-backports")
    with pytest.raises(UnavailableError, match=r"apt-get .* download dash"):
        archive.unpack(["dash"], cache / "dash")
    # Nothing of another release is among this machine's own packages.
    assert (cache / "apt/bookworm-backports-amd64/status").read_text() == ""


def test_a_lab_without_its_packages_is_unavailable_not_broken(
    cache: Path,
) -> None:
    with pytest.raises(UnavailableError):
        prepare_lab(CPPC_ARM)
    assert not (cache / "kernel-arm64").exists()


def test_without_apt_nothing_can_be_downloaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(UnavailableError, match="apt-get not found"):
        Archive().find_dependency("linux-image-cloud-amd64", "linux-image-")
