# SPDX-License-Identifier: Apache-2.0
"""`vmpower try`: what it serves, how it ends, and what is left of it."""

from __future__ import annotations

import os
import pwd
import signal
from pathlib import Path

import pytest

from cli.trial.domains import GUESTS
from tests.daemon.trial_process import TrialProcess
from tests.rig.waiting import wait_for

VCPUS = sum(len(guest.pins) for guest in GUESTS)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_guests_are_served_and_save_energy(directory: Path) -> None:
    with TrialProcess(directory) as trial:
        trial.wait_until_ready()
        assert f"export VMPOWER_RUN_DIR={trial.run_dir}" in trial.output
        with trial.client() as client:

            def are_saving() -> bool:
                energies = client.energy()["domains"]
                saved = [energy["saved_watts"] for energy in energies]
                return len(saved) == len(GUESTS) and min(saved) > 0

            def have_requested() -> bool:
                channels = [
                    channel
                    for domain in client.status()["domains"]
                    for channel in domain["channels"]
                ]
                return [it["acks_total"] > 0 for it in channels] == [True] * VCPUS

            wait_for(have_requested, "requests of every vCPU")
            wait_for(are_saving, "saved energy of every guest")
            host = client.energy()["host"]
        assert host is not None
        assert host["modelled"]
        assert trial.interrupt() == 0
        assert "everything was removed" in trial.output
    assert [path.name for path in directory.iterdir()] == ["output"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_ctrl_c_does(directory: Path, number: int) -> None:
    with TrialProcess(directory) as trial:
        trial.wait_until_ready()
        started = trial.processes()
        assert trial.signal(number) == 0
    assert not trial.directory.exists()
    assert not any(map(is_running, started))


def test_after_kill_9_nothing_runs_and_the_next_start_cleans(directory: Path) -> None:
    with TrialProcess(directory) as killed:
        killed.wait_until_ready()
        started = killed.processes()
        killed.signal(signal.SIGKILL)
        wait_for(lambda: not any(map(is_running, started)), "the end of all processes")
    left = killed.directory / "left"
    left.touch()
    with TrialProcess(directory) as trial:
        trial.wait_until_ready()
        assert not left.exists()
        assert trial.interrupt() == 0
    assert not trial.directory.exists()


def test_the_end_of_the_daemon_is_reported_with_its_log(directory: Path) -> None:
    with TrialProcess(directory) as trial:
        trial.wait_until_ready()
        with trial.client() as client:
            os.kill(client.status()["daemon"]["pid"], signal.SIGTERM)
        assert trial.wait_until_ended() == 1
    assert "error: vmpowerd has ended with status 0" in trial.output
    assert "stopped, all CPU settings restored" in trial.output
    assert not trial.directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_ordinary_user_can_run_it(directory: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    directory.chmod(0o777)
    with TrialProcess(directory, user=nobody) as trial:
        trial.wait_until_ready()
        with trial.client() as client:
            names = [domain["name"] for domain in client.status()["domains"]]
        assert trial.interrupt() == 0
    assert names == [guest.name for guest in GUESTS]
    assert not trial.directory.exists()
