# SPDX-License-Identifier: Apache-2.0
"""The example unit: valid, confined, and with everything the daemon needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "examples" / "systemd" / "vmpowerd.service"
ANALYZE = shutil.which("systemd-analyze")
WORST_EXPOSURE = 35
"""In tenths, as systemd-analyze counts; 96 without any confinement. Two thirds of the
rest are /tmp, the network namespace and /sys, which the daemon needs."""

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")


def settings() -> dict[str, str]:
    """Return the settings of the unit; none occurs twice."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and line[0] != "#"]
    assert len({key for key, _ in pairs}) == len(pairs)
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
    assert text.count("/usr/bin/vmpower") == 2
    copy.write_text(text.replace("/usr/bin/vmpower", f"{programs}/vmpower"))
    done = analyze("verify", "--man=no", str(copy))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_the_exposure_is_low() -> None:
    offline = ("--offline=true", f"--threshold={WORST_EXPOSURE}")
    done = analyze("security", *offline, str(UNIT))
    assert done.returncode == 0, done.stdout


def test_nothing_the_daemon_needs_is_blocked() -> None:
    found = settings()
    # The daemon notifies readiness, but not a watchdog.
    assert found["Type"] == "notify"
    assert "WatchdogSec" not in found
    # Needed: writing /sys, reading /tmp/powermonitor, sock_diag of QEMU's sockets.
    for name in ("ProtectKernelTunables", "PrivateTmp", "PrivateNetwork"):
        assert found[name] == "no"
    assert found["KillMode"] == "control-group"
    assert found["RuntimeDirectory"].split() == ["vmpower", "vmpower-claims"]
    assert found["RuntimeDirectoryPreserve"] == "yes"
    assert int(found["LimitNOFILE"]) >= 65_536
    needed = {"CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_CHOWN"}
    assert needed <= set(found["CapabilityBoundingSet"].split())
