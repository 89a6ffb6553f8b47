# SPDX-License-Identifier: Apache-2.0
"""The daemon on Linux's own drivers that choose frequencies themselves.

Runs in a lab with intel_pstate or amd-pstate in the mode active: ``python3 -m
tests.daemon.active_on_linux``. What a request has changed is read in the registers,
not only in the kernel's files. Each function is one scenario.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Answer, Unit
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.mechanisms.limits import PREFERENCE
from orchestrator.power.steps import read_steps
from orchestrator.power.sysfs import CpuTree
from tests.daemon.drift_on_linux import CPU, Scenario, begin, read, write
from tests.power.registers import requested_khz
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.values.frequencies import FrequencyTable

REGISTER_UNIT_KHZ = 15_000
"""Of CPPC; Intel's registers have coarser units."""
CPUS = Path("/sys/devices/system/cpu")
LIMITS = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")


@cache
def steps() -> FrequencyTable:
    return read_steps(CpuTree.host(), 1)


def settings(*names: str) -> list[str]:
    return [read(name) for name in names if (CPU / "cpufreq" / name).exists()]


def is_set(khz: int) -> bool:
    """Whether CPU 1 runs at a frequency, and at no other."""
    low_khz, high_khz, desired_khz, _ = requested_khz(1)
    found = [desired_khz] if desired_khz else [low_khz, high_khz]
    return all(abs(it - khz) < REGISTER_UNIT_KHZ for it in found)


def wait_until_set(khz: int) -> None:
    try:
        wait_for(lambda: is_set(khz), f"{khz} kHz in the registers")
    except TimeoutError as error:
        found = f"{requested_khz(1)}, {settings(*LIMITS)}"
        raise TimeoutError(f"{error}; found {found}") from None


def each_request_reaches_the_registers(it: Scenario) -> None:
    # A request that was answered late is repeated, and UP would be two steps.
    for unit, khz in (
        (Unit.SCALE_MAX, steps().highest_khz),
        (Unit.DISABLE_TURBO, steps().nominal_khz),
        (Unit.SCALE_MIN, steps().lowest_khz),
        (Unit.ENABLE_TURBO, steps().highest_khz),
        (Unit.SCALE_MIN, steps().lowest_khz),
    ):
        assert it.request(unit) is Answer.ACK, unit
        wait_until_set(khz)


def what_is_set_is_no_limit_of_the_kernel(it: Scenario) -> None:
    cpu = next(cpu for cpu in it.daemon.status()["cpus"] if cpu["pcpu"] == 1)
    assert (cpu["min_khz"], cpu["max_khz"]) == (steps().lowest_khz, steps().highest_khz)
    assert cpu["drift"] is None


def a_cpu_that_was_switched_off_and_on_keeps_its_frequency(it: Scenario) -> None:
    for _ in range(3):
        write("online", "0")
        it.wait_for(Unit.SCALE_MIN, Answer.NACK)
        write("online", "1")
        wait_until_set(steps().lowest_khz)
        it.wait_for(Unit.SCALE_MIN, Answer.ACK)


def limits_of_another_program_stay_until_they_are_retaken(it: Scenario) -> None:
    write("cpufreq/scaling_max_freq", str(steps().nominal_khz))
    drift = it.wait_for_drift()
    assert drift.startswith("the limits were changed from "), drift
    assert it.request(Unit.SCALE_MIN) is Answer.NACK
    it.retake()
    wait_until_set(steps().lowest_khz)
    it.wait_for(Unit.SCALE_MIN, Answer.ACK)


SCENARIOS: tuple[Callable[[Scenario], None], ...] = (
    each_request_reaches_the_registers,
    what_is_set_is_no_limit_of_the_kernel,
    limits_of_another_program_stay_until_they_are_retaken,
    # Last: the frequency may be written again some time later.
    a_cpu_that_was_switched_off_and_on_keeps_its_frequency,
)


def end_in_order(it: Scenario) -> None:
    assert it.daemon.stop() == 0


def kill_main(it: Scenario) -> None:
    it.daemon.kill()


def kill_both(it: Scenario) -> None:
    """Kill main and the monitor, and replay the journal."""
    monitor = it.daemon.monitor_pid
    os.kill(monitor, signal.SIGSTOP)
    it.daemon.kill()
    os.kill(monitor, signal.SIGKILL)
    tree = CpuTree.host()
    replay = Journal(it.daemon.run_dir / JOURNAL_NAME, tree).replay()
    assert replay.restored == (1,), replay


ENDS = (end_in_order, kill_main, kill_both)
"""After each of them, the settings are those from before."""


def play_scenarios_and_ends() -> None:
    write("cpufreq/scaling_governor", "powersave")
    if (CPU / "cpufreq" / PREFERENCE).exists():
        write(f"cpufreq/{PREFERENCE}", "balance_power")
    before = settings(*LIMITS, PREFERENCE)
    for end in ENDS:
        with begin() as it:
            for scenario in SCENARIOS if end is ENDS[0] else ():
                scenario(it)
                report(scenario.__name__)
            wait_until_set(steps().lowest_khz)
            assert settings(*LIMITS, PREFERENCE) != before
            end(it)
            wait_for(
                lambda: settings(*LIMITS, PREFERENCE) == before,
                f"{before} after {end.__name__}",
            )
        report(end.__name__)


def play_modes() -> None:
    """Change the driver's mode twice; the guest sends nothing, its vote lives on."""
    names = ("intel_pstate/status", "amd_pstate/status")
    mode = next(CPUS / name for name in names if (CPUS / name).exists())
    for word in ("passive", "active"):
        mode.write_text(word)
    defaults = settings(*LIMITS)
    with begin() as it:
        for word, governor in (("passive", "userspace"), ("active", "performance")):
            mode.write_text(word)
            wait_for(
                partial(is_read, "scaling_governor", governor),
                f"the governor {governor}",
            )
            wait_until_set(steps().lowest_khz)
            it.wait_for(Unit.SCALE_MIN, Answer.ACK)
        assert "the kernel replaced the scaling driver" in it.daemon.log_text()
        assert it.daemon.stop() == 0
        assert settings(*LIMITS) == defaults
    report(play_modes.__name__)


def is_read(name: str, value: str) -> bool:
    return read(name) == value


def report(name: str) -> None:
    sys.stdout.write(f"ok {name}\n")
    sys.stdout.flush()


def main() -> int:
    """Play everything; print one line for each scenario."""
    play_scenarios_and_ends()
    play_modes()
    return 0


REPORTED = [it.__name__ for it in (*SCENARIOS, *ENDS, play_modes)]

if __name__ == "__main__":
    raise SystemExit(main())
