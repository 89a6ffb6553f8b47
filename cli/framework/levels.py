# SPDX-License-Identifier: Apache-2.0
"""Frequencies for `vmpower cpu set`: a number, or a level such as `min` or `up`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, VmpowerError
from orchestrator.values.units import FREQUENCY_FORMATS, parse_khz

if TYPE_CHECKING:
    from orchestrator.control.documents import Cpu


class Level(StrEnum):
    """A frequency that depends on the CPU, as in DPDK's power commands."""

    MIN = "min"
    """The lowest step."""
    MAX = "max"
    """The highest step."""
    NOMINAL = "nominal"
    """The highest step without turbo."""
    TURBO = "turbo"
    """The turbo step."""
    UP = "up"
    """One step above the override, the grant or the current frequency."""
    DOWN = "down"
    """One step below."""


class LevelError(VmpowerError):
    """A CPU does not have the level; choose another one."""


def parse_frequency(text: str) -> Level | int:
    """Read a level, or a frequency in kHz.

    Raises:
        ConfigError: it is neither.
    """
    if text in set(Level):
        return Level(text)
    try:
        return parse_khz(text)
    except ConfigError as error:
        if text[:1].isdigit():
            raise
        raise ConfigError(
            f"{str(error).partition(':')[0]}: expected {FREQUENCY_FORMATS},"
            f" or one of {', '.join(Level)}"
        ) from error


def khz_for(wanted: Level | int, cpu: Cpu) -> int:
    """Return the frequency in kHz to set on a CPU's clock group.

    The daemon limits it to what the host permits.

    Raises:
        LevelError: the CPU has no such level.
    """
    steps = cpu["steps_khz"]
    match wanted:
        case Level.MIN:
            return steps[-1]
        case Level.MAX:
            return steps[0]
        case Level.NOMINAL:
            return _nominal_khz(cpu)
        case Level.TURBO:
            if steps[0] <= _nominal_khz(cpu):
                raise LevelError(f"CPU {cpu['pcpu']} has no turbo frequency")
            return steps[0]
        case Level.UP:
            now = _now_khz(cpu)
            return min((khz for khz in steps if khz > now), default=steps[0])
        case Level.DOWN:
            now = _now_khz(cpu)
            return max((khz for khz in steps if khz < now), default=steps[-1])
        case khz:
            return khz


def _nominal_khz(cpu: Cpu) -> int:
    khz = cpu["nominal_khz"]
    if khz is None:
        raise LevelError(f"the nominal frequency of CPU {cpu['pcpu']} is not known")
    return khz


def _now_khz(cpu: Cpu) -> int:
    """Return the frequency from which `up` and `down` count."""
    for khz in (cpu["override_khz"], cpu["grant_khz"], cpu["current_khz"]):
        if khz is not None:
            return khz
    raise LevelError(f"the frequency of CPU {cpu['pcpu']} is not known")
