# SPDX-License-Identifier: Apache-2.0
"""Energy preferences (EPP): what a CPU that chooses its frequency itself prefers.

A word, or a number from 0 (performance) to 255 (power saving), of which four have
words. The word `default` is not accepted: without a preference, the kernel's own stays.

Source: Documentation/admin-guide/pm/intel_pstate.rst of the kernel, "Energy vs
Performance Hints"; arch/x86/include/asm/msr-index.h (HWP_EPP_*).
"""

from __future__ import annotations

from typing import NewType

from orchestrator.errors import ConfigError

EnergyPreference = NewType("EnergyPreference", str)
WORDS = {
    "performance": 0,
    "balance_performance": 128,
    "balance_power": 192,
    "power": 255,
}
"""Each word's number."""
EXPECTED = f"{', '.join(WORDS)}, or 0 to 255"
_MAX, _DIGITS = 255, 3
_SHOWN = 40


def parse_preference(text: str) -> EnergyPreference:
    """Check a preference, and return the one spelling of it.

    Raises:
        ConfigError: it is invalid.
    """
    if text in WORDS:
        return EnergyPreference(text)
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    if not is_number or int(text) > _MAX:
        raise ConfigError(
            f"invalid energy preference '{text[:_SHOWN]}': expected {EXPECTED}"
        )
    return EnergyPreference(canonical_preference(text))


def canonical_preference(text: str) -> str:
    """Return the one spelling of a preference: its word, if it has one."""
    if not (text.isascii() and text.isdigit()):
        return text
    words = {number: word for word, number in WORDS.items()}
    return words.get(int(text), str(int(text)))


def rank_preference(preference: str) -> int:
    """Return a preference as a number, lower for more performance."""
    return WORDS[preference] if preference in WORDS else int(preference)
