# SPDX-License-Identifier: Apache-2.0
"""The example unit: valid, confined, and with everything the daemon needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.monitor.client.heartbeat import PERIOD_S

UNIT = Path(__file__).parents[2] / "examples" / "systemd" / "vmpowerd.service"
UNPRIVILEGED = UNIT.with_name("unprivileged.conf")
ANALYZE = shutil.which("systemd-analyze")
WORST_EXPOSURE = 20
"""In tenths, as systemd-analyze counts; 96 without any confinement. Most of the rest is
root, its capabilities, and the network namespace, which the daemon needs."""
WORST_UNPRIVILEGED_EXPOSURE = 15

REPEATED = ("After", "SystemCallFilter", "ReadOnlyPaths")

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")


def settings() -> dict[str, str]:
    """Return the settings of the unit; only orders and filters occur twice."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and line[0] != "#"]
    names = [key for key, _ in pairs if key not in REPEATED]
    assert len(set(names)) == len(names)
    return {pair[0]: pair[1] for pair in pairs}


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *arguments], capture_output=True, text=True, check=False
    )


@needs_systemd
def test_systemd_analyze_verifies_the_unit(tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    for installed in ("/usr/sbin/vmpowerd", "/usr/bin/vmpower"):
        assert text.count(installed) == 1
        text = text.replace(installed, f"{programs}/{Path(installed).name}")
    copy.write_text(text)
    done = analyze("verify", "--man=no", str(copy))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_the_exposure_is_low() -> None:
    offline = ("--offline=true", f"--threshold={WORST_EXPOSURE}")
    done = analyze("security", *offline, str(UNIT))
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_without_root_the_exposure_is_lower(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text(encoding="utf-8").partition("[Install]")[0]
        + UNPRIVILEGED.read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    offline = ("--offline=true", f"--threshold={WORST_UNPRIVILEGED_EXPOSURE}")
    done = analyze("security", *offline, str(unit))
    assert done.returncode == 0, done.stdout


def test_nothing_the_daemon_needs_is_blocked() -> None:
    found = settings()
    assert found["Type"] == "notify"
    assert int(found["WatchdogSec"]) > PERIOD_S * 10
    # Needed: /tmp/powermonitor, sock_diag of QEMU's sockets, writing to CPUs.
    assert found["BindPaths"] == "-/tmp/powermonitor"
    assert found["PrivateNetwork"] == "no"
    assert found["ReadWritePaths"] == "/sys/devices/system/cpu"
    assert found["KillMode"] == "control-group"
    assert found["RuntimeDirectory"].split() == ["vmpower", "vmpower-claims"]
    assert found["RuntimeDirectoryPreserve"] == "yes"
    assert int(found["LimitNOFILE"]) >= 65_536
    needed = {"CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
    assert needed <= set(found["CapabilityBoundingSet"].split())
