# SPDX-License-Identifier: Apache-2.0
"""The packet layouts of all DPDK releases; no packet names its own.

In struct's formats `L` is 4 bytes, `Q` 8, `x` padding, all little-endian.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

MAX_VCPUS = 8
"""vCPU slots in policies and replies."""

_REQUEST = "QLL"  # resource_id, unit, command
_POLICY = (
    f"{_REQUEST}32s"  # vm_name
    "8s8s8s8s8s8s8s8s8s8si"  # vfid, nb_mac_to_monitor
    "3L"  # thresholds: min, avg, max
    "8BB3x"  # vcpu_to_control, num_vcpu
    "24i24i24i"  # busy, quiet and traffic hours
)
_FREQUENCIES = f"<{_REQUEST}32s8LB"  # vm_name, freq_list, num_vcpu
_CAPABILITIES = f"<{_REQUEST}32s8Q8QB"  # vm_name, turbo, priority, num_vcpu


class Generation(NamedTuple):
    """One layout of the packet."""

    size_bytes: int
    """Size of a request and of its answer; also the name of the generation."""
    header: Struct
    """Unpacks the fields of a `Request` that the layout has from a whole packet."""
    has_core_type: bool
    """Whether a packet has a core type: vCPUs or host CPUs."""
    policy: Struct | None = None
    """The fields of a PKT_POLICY; None: not in this generation."""
    frequencies: Struct | None = None
    """The reply to QUERY_FREQ; None: such guests never read answers."""
    capabilities: Struct | None = None
    """The reply to QUERY_CAPS; None: such guests never read answers."""
    answer_offset: int = 12
    """Offset of the answer's code: 4 bytes, of which only the first is not 0."""

    @property
    def is_answered(self) -> bool:
        """Whether its guests may read answers; for others these would fill the port."""
        return self.frequencies is not None


GENERATION_16 = Generation(16, Struct(f"<{_REQUEST}"), has_core_type=False)
"""v1.8 to v17.08."""
GENERATION_456 = Generation(
    456,
    Struct(f"<{_REQUEST}440x"),
    has_core_type=False,
    policy=Struct(f"<{_POLICY}iiB3x"),  # workload, policy_to_use, tbEnabled
)
"""v17.11 to v18.08; the same on 32-bit guests."""
GENERATION_460 = Generation(
    460,
    Struct(f"<{_REQUEST}428xB15x"),
    has_core_type=True,
    policy=Struct(f"<{_POLICY}B3xiiB3x"),  # core_type, then as before
    frequencies=Struct(f"{_FREQUENCIES}3x"),
    capabilities=Struct(f"{_CAPABILITIES}3x"),
)
"""32-bit x86 guests from v18.11 on."""
GENERATION_464 = Generation(
    464,
    Struct(f"<{_REQUEST}428xB19x"),
    has_core_type=True,
    policy=Struct(f"<{_POLICY}B3xiiB7x"),
    frequencies=Struct(f"{_FREQUENCIES}7x"),
    capabilities=Struct(f"{_CAPABILITIES}7x"),
)
"""64-bit guests from v18.11 on, including all supported releases. Guests before v19.11
do not read answers, and cannot be distinguished from the others."""

GENERATIONS = {
    generation.size_bytes: generation
    for generation in (GENERATION_16, GENERATION_456, GENERATION_460, GENERATION_464)
}
"""By packet size in bytes."""
