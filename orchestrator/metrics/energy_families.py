# SPDX-License-Identifier: Apache-2.0
"""Families of energy, which a source of the energy accounting fills.

They join `families.FAMILIES` with the source that has their values: until then no
scrape has them, and docs/metrics.md does not list them. Joules are shared by zone, a
meter's name (`package`, `dram`); zones overlap, so they are not summed.
"""

from __future__ import annotations

from typing import Final

from orchestrator.metrics.family import Family, Kind

DOMAIN_CPU_JOULES: Final = Family(
    name="vmpower_domain_cpu_joules_total",
    kind=Kind.COUNTER,
    help="Energy that a domain's vCPUs and its QEMU threads used, by zone.",
    labels=("domain", "uuid", "zone"),
    bound="1 for each zone, for each running domain",
)
DOMAIN_SAVED_JOULES: Final = Family(
    name="vmpower_domain_saved_joules_total",
    kind=Kind.COUNTER,
    help="Energy saved against the same vCPUs at their highest permitted step.",
    labels=("domain", "uuid"),
    bound="1 for each running domain",
)
