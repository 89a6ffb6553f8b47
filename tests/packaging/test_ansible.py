# SPDX-License-Identifier: Apache-2.0
"""The Ansible role, applied to the localhost of a Debian of its own (no systemd)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.packaging.debian_guest import fetch_system
from tests.packaging.debs import ROOT, build_debs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

OPTIONS = (
    '{"mode": "observe", "bounds": {"max_khz": "2.6GHz"},'
    ' "onboard": [{"match": "dpdk-*", "pinned": true}]}'
)
RECAP = re.compile(r"localhost +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0 ")
ENTER = """
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
exec chroot "$0" "$@"
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A Debian with Ansible, the role and the package."""
    if os.environ.get("VMPOWER_SERVICE") != "all":
        pytest.skip("make test-service runs it")
    root = tmp_path / "host"
    system = fetch_system("trixie", ("ansible-core", "python3-apt"))
    subprocess.run(["cp", "-a", str(system), str(root)], check=True)
    shutil.copytree(ROOT / "examples/ansible", root / "role")
    shutil.copy(build_debs().vmpower, root / "role/vmpower.deb")
    return root


def apply(host: Path, *options: str) -> int:
    """Apply the role; return how many tasks changed something."""
    playbook = ("ansible-playbook", "-i", "localhost,", "-c", "local")
    package = ("-e", "vmpower_package=/role/vmpower.deb", "/role/playbook.yml")
    enter = ("unshare", "--mount", "sh", "-e", "-c", ENTER)
    done = subprocess.run(
        [*enter, str(host), *playbook, *package, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    found = RECAP.search(done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[2])


def test_a_second_run_changes_nothing(host: Path) -> None:
    options = ("-e", f'{{"vmpower_options": {OPTIONS}}}')
    assert apply(host, *options, "--check") == 2  # the package's file, configuration
    assert not (host / "usr/bin/vmpower").exists()
    assert apply(host, *options) > 0
    assert apply(host, *options) == 0
    assert apply(host, *options, "--check") == 0
    written = host / "etc/vmpower/conf.d/ansible.toml"
    assert tomllib.loads(written.read_text()) == {
        "mode": "observe",
        "bounds": {"max_khz": "2.6GHz"},
        "onboard": [{"match": "dpdk-*", "pinned": True}],
    }
    assert apply(host) == 1
    assert not written.exists()
