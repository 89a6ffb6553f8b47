"""The guest's side: a library with librte_power's vocabulary, and `vmpower-guest`.

Standard library only, Python 3.9 or newer: it is copied into guests as one file.
"""

from __future__ import annotations

from orchestrator.guest.clock import VCpuClock

# Who wants asyncio imports async_clock: the command does not pay for it.
__all__ = ["VCpuClock"]
