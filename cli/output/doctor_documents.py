# SPDX-License-Identifier: Apache-2.0
"""The JSON document that `vmpower doctor` prints."""

from __future__ import annotations

from typing import TypedDict


class Finding(TypedDict):
    """Something that a check has found."""

    id: str
    """Name of the check."""
    severity: str
    """`error`: vmpower does not work; `warning`: it works, but not as expected; `info`:
    no action is needed."""
    subject: str
    """What it is about: a domain, a file, CPUs."""
    what: str
    """What is wrong."""
    fix: str | None
    """How to fix it; null if there is nothing to do."""
    cure: str | None
    """Earlier name of `fix`."""


class UncheckedItem(TypedDict):
    """A check that was skipped."""

    id: str
    """Name of the check."""
    reason: str
    """Why."""
    fix: str | None
    """How to make it possible; null if not known."""
    cure: str | None
    """Earlier name of `fix`."""


class CapableCpus(TypedDict):
    """CPUs with the same driver, mechanism, governor and frequencies."""

    pcpus: list[int]
    """Their numbers."""
    driver: str
    """Scaling driver; empty: none."""
    mode: str | None
    """Its mode, as in `intel_pstate/status` and `amd_pstate/status`; null: it has none,
    or the kernel does not report it."""
    mechanism: str | None
    """How vmpower sets frequencies: `setspeed` (the governor `userspace` and
    scaling_setspeed), or `limits` (scaling_min_freq and scaling_max_freq); null: it
    cannot set them."""
    governor: str
    """Governor; empty: none."""
    min_khz: int | None
    """Lowest frequency of the hardware, in kHz; null: not known."""
    max_khz: int | None
    """Highest frequency of the hardware, turbo included, in kHz; null: not known."""
    nominal_khz: int | None
    """Highest frequency without turbo, in kHz; null: not known."""
    steps: int
    """Number of frequencies that vmpower can set; 0: none."""
    has_turbo: bool
    """Whether one of them is turbo."""
    reason: str | None
    """Why none can be set; null if they can."""


class Diagnosis(TypedDict):
    """The results of all checks of this host."""

    healthy: bool
    """Whether there is nothing to fix; false: the exit status is 5."""
    findings: list[Finding]
    """The most severe first."""
    passed: list[str]
    """Names of the checks that found nothing to fix."""
    unchecked: list[UncheckedItem]
    """Checks that were skipped."""
    cpus: list[CapableCpus]
    """All CPUs of the host, by what vmpower can do with them."""
