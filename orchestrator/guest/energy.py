# SPDX-License-Identifier: Apache-2.0
"""What this VM draws and saves, as its host accounts it."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.channel.protocol import FigureSource, decode_energy

_MICRO = 1e-6
_MILLI = 1e-3


class Energy(NamedTuple):
    """Energy of the VM's vCPUs and of QEMU's other threads, at the processors.

    No part of the static power of the processors is in it. Each uncertainty is one
    standard deviation, either way.
    """

    watts: float
    """Power, the mean of the last ten seconds."""
    error_watts: float
    """Uncertainty of the power."""
    saved_watts: float
    """What the vCPUs would draw more at their highest permitted frequencies."""
    saved_error_watts: float
    joules_total: float
    """Energy since the VM was started, or the host's accounting if that is later."""
    error_joules_total: float
    saved_joules_total: float
    saved_error_joules_total: float
    seconds: float
    """What the energies were summed up over."""
    source: str
    """`measured`, or `modelled`: the host has no meter."""


def read_energy(reply: bytes) -> Energy:
    """Read a reply of the host.

    Raises:
        PacketError: it is none.
    """
    figures = decode_energy(reply)
    return Energy(
        watts=figures.power_uw * _MICRO,
        error_watts=figures.power_error_uw * _MICRO,
        saved_watts=figures.saved_uw * _MICRO,
        saved_error_watts=figures.saved_error_uw * _MICRO,
        joules_total=figures.drawn_uj * _MICRO,
        error_joules_total=figures.drawn_error_uj * _MICRO,
        saved_joules_total=figures.saved_uj * _MICRO,
        saved_error_joules_total=figures.saved_error_uj * _MICRO,
        seconds=figures.duration_ms * _MILLI,
        source=FigureSource(figures.source).name.lower(),
    )
