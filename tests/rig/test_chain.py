# SPDX-License-Identifier: Apache-2.0
"""The whole chain, all real: DPDK's library in a guest, Linux's cpufreq below it.

With intel_pstate, the driver is Linux's own, too, but the registers below it are
imitated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from examples.guests.packages import UnavailableError
from tests.rig.dpdk import librte_power_guest
from tests.rig.host_lab import run_in_host_lab
from tests.rig.labs import ACPI_CPUFREQ, AMD_ACTIVE, INTEL_ACTIVE_HWP, Lab
from tests.rig.watched_daemon import facts_of

PROGRAM = """
from tests.rig.watched_daemon import WatchedDaemon, use_governors

# CPU 1 is the guest's: between two governors the kernel keeps the frequency, so one
# below the highest step would be seen before the daemon's first.
use_governors(["powersave", "performance", *{governors!r}])
daemon = WatchedDaemon(URI, {file!r})
daemon.watch(lambda seen: len(seen) == 7)
daemon.stop(CONSOLE)
"""

UNTOUCHED = "<unsupported>"


class Chain(NamedTuple):
    """One scaling driver below the chain."""

    lab: Lab
    file: str
    """Where the frequency that is set shows."""
    first: str
    """Its value in untaken groups."""
    steps: tuple[str, ...]
    """The frequencies of CPU 1: the first by CONNECT; the last when the guest has
    closed its port, because without a vote the frequency is high. ENABLE_TURBO and UP
    change nothing at that point."""
    governors: tuple[str, ...] = ("powersave", "performance")
    """Of CPUs 2 and 3."""

    def __str__(self) -> str:
        return str(self.lab)


CHAINS = (
    Chain(
        ACPI_CPUFREQ,
        "scaling_setspeed",
        UNTOUCHED,
        ("3001000", "3000000", "2000000", "1200000", "3000000", "3001000"),
        ("ondemand", "schedutil"),
    ),
    # Both limits are set; the lower one changes at the first take, too.
    Chain(
        INTEL_ACTIVE_HWP,
        "scaling_min_freq",
        "800000",
        ("3600000", "2400000", "2300000", "800000", "2400000", "3600000"),
    ),
    Chain(
        AMD_ACTIVE,
        "scaling_min_freq",
        "600000",
        ("3600000", "2400000", "2300000", "600000", "2400000", "3600000"),
    ),
)


@pytest.mark.lab
@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_six_calls_in_a_guest_set_frequencies_of_linuxs_own_driver(
    chain: Chain,
) -> None:
    try:
        chain.lab.fetch_kernel()
    except UnavailableError as error:
        pytest.skip(f"{chain.lab} cannot be built: {error}")
    spec = librte_power_guest(spacing_ms=1000, pins=("1",))
    nested = replace(spec, memory_mib=256, machine="pc")
    program = PROGRAM.format(file=chain.file, governors=chain.governors)
    outcome = run_in_host_lab(program, nested, lab=chain.lab)
    seen, status, before, after = facts_of(outcome.output)
    first = chain.first
    assert seen == [[first, clock, first, first] for clock in (first, *chain.steps)], (
        outcome.output
    )
    assert status == 0
    assert after == before
