# SPDX-License-Identifier: Apache-2.0
"""Every family that `/metrics` has.

Names follow Prometheus' conventions: base units (hertz, seconds, joules), `_total` for
counters, `_info` for labels without a value. Families about a domain have its name and
its UUID, because two domains may have one name while one of them is being renamed.
"""

from __future__ import annotations

from typing import Final

from orchestrator.metrics.family import Family, Kind

_ONE: Final = "1"
_DOMAIN: Final = ("domain", "uuid")
_PER_DOMAIN: Final = "1 for each running domain"

# The daemon.

BUILD_INFO: Final = Family(
    name="vmpower_build_info",
    kind=Kind.INFO,
    help="The running daemon.",
    labels=("version",),
    bound=_ONE,
)
START_TIME: Final = Family(
    name="vmpower_start_time_seconds",
    kind=Kind.GAUGE,
    help="When the daemon was started, in seconds since 1970.",
    bound=_ONE,
)
ENFORCING: Final = Family(
    name="vmpower_enforcing",
    kind=Kind.GAUGE,
    help="Whether the host's mode is enforce (1) or observe (0).",
    bound=_ONE,
)
LIBVIRT_CONNECTED: Final = Family(
    name="vmpower_libvirt_connected",
    kind=Kind.GAUGE,
    help="Whether the connection to libvirt is open.",
    bound=_ONE,
)
LIBVIRT_RECONNECTS: Final = Family(
    name="vmpower_libvirt_reconnects_total",
    kind=Kind.COUNTER,
    help="Reconnections to libvirt.",
    bound=_ONE,
)
MONITOR_UP: Final = Family(
    name="vmpower_monitor_up",
    kind=Kind.GAUGE,
    help="Whether the monitor process runs, which answers the guests.",
    bound=_ONE,
)
MONITOR_RESTARTS: Final = Family(
    name="vmpower_monitor_restarts_total",
    kind=Kind.COUNTER,
    help="Restarts of the monitor process.",
    bound=_ONE,
)
EVENTS: Final = Family(
    name="vmpower_events_total",
    kind=Kind.COUNTER,
    help="Events by kind, as `vmpower events` shows them, without sampled grants.",
    labels=("kind",),
    bound="1 for each kind of event",
)
SCRAPE_DURATION: Final = Family(
    name="vmpower_scrape_duration_seconds",
    kind=Kind.SUMMARY,
    help="Time that the daemon took to assemble metrics, without this scrape.",
    bound="2",
)

# Answers to guests.

REQUEST_LATENCY: Final = Family(
    name="vmpower_request_latency_seconds",
    kind=Kind.HISTOGRAM,
    help="Time from the poll that delivered a request until its answer was sent.",
    bound="17: 14 buckets, +Inf, sum and count",
)
WRITES: Final = Family(
    name="vmpower_frequency_writes_total",
    kind=Kind.COUNTER,
    help="Frequencies that the kernel accepted.",
    bound=_ONE,
)
REFUSED_WRITES: Final = Family(
    name="vmpower_frequency_write_refusals_total",
    kind=Kind.COUNTER,
    help="Frequencies that the kernel refused.",
    bound=_ONE,
)
CHANNEL_BUDGET: Final = Family(
    name="vmpower_channel_budget_requests_per_second",
    kind=Kind.GAUGE,
    help="Requests per second that each channel may send; 0: unlimited.",
    bound=_ONE,
)
QUARANTINES: Final = Family(
    name="vmpower_quarantines_total",
    kind=Kind.COUNTER,
    help="Channels that were quarantined, each time.",
    bound=_ONE,
)
CHANNELS: Final = Family(
    name="vmpower_channels",
    kind=Kind.GAUGE,
    help="Channels of running domains by state and by the packet size of the guest.",
    labels=("generation", "state"),
    bound="48: 8 states, 4 generations, unknown and p-states",
)

# Host CPUs.

CLOCK_GROUPS: Final = Family(
    name="vmpower_clock_groups",
    kind=Kind.GAUGE,
    help="Clock groups by stage: taken ones have a frequency of the daemon's.",
    labels=("stage",),
    bound="10, the stages",
)
OVERRIDES: Final = Family(
    name="vmpower_clock_groups_overridden",
    kind=Kind.GAUGE,
    help="Clock groups whose frequency an operator has set.",
    bound=_ONE,
)
TAKES: Final = Family(
    name="vmpower_clock_group_takes_total",
    kind=Kind.COUNTER,
    help="Clock groups that were taken, each time.",
    bound=_ONE,
)
RESTORES: Final = Family(
    name="vmpower_clock_group_restores_total",
    kind=Kind.COUNTER,
    help="Clock groups whose original settings were restored, each time.",
    bound=_ONE,
)
DRIFTS: Final = Family(
    name="vmpower_clock_group_drifts_total",
    kind=Kind.COUNTER,
    help="Taken clock groups that another program changed, each time.",
    bound=_ONE,
)
CPUS_UNMANAGED: Final = Family(
    name="vmpower_cpus_unmanaged",
    kind=Kind.GAUGE,
    help="Host CPUs whose frequency cannot be set; offline ones are among them.",
    bound=_ONE,
)
CPU_GRANTED: Final = Family(
    name="vmpower_cpu_granted_hertz",
    kind=Kind.GAUGE,
    help="Frequency granted to the clock group of a host CPU, while it is taken.",
    labels=("cpu",),
    bound="1 for each online CPU",
)
CPU_OBTAINED: Final = Family(
    name="vmpower_cpu_obtained_hertz",
    kind=Kind.GAUGE,
    help="Frequency at which a host CPU was last found to run, if that was lately.",
    labels=("cpu",),
    bound="1 for each online CPU",
)

# Domains.

DOMAINS: Final = Family(
    name="vmpower_domains",
    kind=Kind.GAUGE,
    help="Domains by state.",
    labels=("state",),
    bound="8, libvirt's states",
)
DOMAIN_INFO: Final = Family(
    name="vmpower_domain_info",
    kind=Kind.INFO,
    help="A running domain; vm_id is its UUID, as in Kepler's metrics. Of an instance"
    " of OpenStack, its name and its project.",
    labels=("domain", "mode", "nova_instance", "nova_project", "uuid", "vm_id"),
    bound=_PER_DOMAIN,
)
DOMAIN_REQUESTS: Final = Family(
    name="vmpower_domain_requests_total",
    kind=Kind.COUNTER,
    help="Requests of a domain's guest by the kind of their answer.",
    labels=("answer", *_DOMAIN),
    bound="5 for each running domain",
)
DOMAIN_REFUSALS: Final = Family(
    name="vmpower_domain_refusals_total",
    kind=Kind.COUNTER,
    help="Refused requests of a domain's guest by cause, for causes that occurred.",
    labels=("cause", *_DOMAIN),
    bound="18 for each running domain",
)
DOMAIN_MALFORMED: Final = Family(
    name="vmpower_domain_malformed_total",
    kind=Kind.COUNTER,
    help="Pieces of a guest's input that were not a valid packet.",
    labels=_DOMAIN,
    bound=_PER_DOMAIN,
)
DOMAIN_THROTTLES: Final = Family(
    name="vmpower_domain_throttles_total",
    kind=Kind.COUNTER,
    help="How often a guest was not read for a while, having exceeded its budget.",
    labels=_DOMAIN,
    bound=_PER_DOMAIN,
)
DOMAIN_CHANNELS: Final = Family(
    name="vmpower_domain_channels",
    kind=Kind.GAUGE,
    help="Channels of a domain by state, for states that occur.",
    labels=("domain", "state", "uuid"),
    bound="8 for each running domain",
)
DOMAIN_VCPUS: Final = Family(
    name="vmpower_domain_vcpus",
    kind=Kind.GAUGE,
    help="vCPUs of a domain: controllable, or why not, for states that occur.",
    labels=("domain", "state", "uuid"),
    bound="3 for each running domain",
)
DOMAIN_POLICIES: Final = Family(
    name="vmpower_domain_policies",
    kind=Kind.GAUGE,
    help="Policies in force for a domain by source and kind.",
    labels=("domain", "kind", "source", "uuid"),
    bound="4 sources, each with every kind of policy, for each running domain",
)
VCPU_GRANTED: Final = Family(
    name="vmpower_vcpu_granted_hertz",
    kind=Kind.GAUGE,
    help="Frequency granted to the clock group of a vCPU, while it is taken.",
    labels=(*_DOMAIN, "vcpu"),
    bound="1 for each controllable vCPU",
)
VCPU_OBTAINED: Final = Family(
    name="vmpower_vcpu_obtained_hertz",
    kind=Kind.GAUGE,
    help="Frequency at which the CPU of a vCPU was last found to run, if lately.",
    labels=(*_DOMAIN, "vcpu"),
    bound="1 for each controllable vCPU",
)

# Energy, where it is accounted.

DOMAIN_CPU_JOULES: Final = Family(
    name="vmpower_domain_cpu_joules_total",
    kind=Kind.COUNTER,
    help="Energy that a domain's vCPUs and its QEMU threads used, by zone.",
    labels=("domain", "uuid", "zone"),
    bound=_PER_DOMAIN,
)
DOMAIN_SAVED_JOULES: Final = Family(
    name="vmpower_domain_saved_joules_total",
    kind=Kind.COUNTER,
    help="Energy saved against the same vCPUs at their highest permitted step.",
    labels=_DOMAIN,
    bound=_PER_DOMAIN,
)
DOMAIN_POSSIBLE_JOULES: Final = Family(
    name="vmpower_domain_possible_joules_total",
    kind=Kind.COUNTER,
    help="Energy that would be saved if all votes were granted, as in mode enforce.",
    labels=_DOMAIN,
    bound=_PER_DOMAIN,
)
DOMAIN_CPU_ERROR: Final = Family(
    name="vmpower_domain_cpu_error_joules_total",
    kind=Kind.COUNTER,
    help="Uncertainty of a domain's energy: one standard deviation, either way.",
    labels=_DOMAIN,
    bound=_PER_DOMAIN,
)
DOMAIN_SAVED_ERROR: Final = Family(
    name="vmpower_domain_saved_error_joules_total",
    kind=Kind.COUNTER,
    help="Uncertainty of what a domain saved: one standard deviation, either way.",
    labels=_DOMAIN,
    bound=_PER_DOMAIN,
)
HOST_JOULES: Final = Family(
    name="vmpower_host_joules_total",
    kind=Kind.COUNTER,
    help="Energy of the host by zone; zones overlap: do not add them.",
    labels=("zone",),
    bound="3",
)
PACKAGE_PART_JOULES: Final = Family(
    name="vmpower_host_package_joules_total",
    kind=Kind.COUNTER,
    help="Energy of the zone package by part; the parts add up to it.",
    labels=("part",),
    bound="4",
)
HOST_SAVED_JOULES: Final = Family(
    name="vmpower_host_saved_joules_total",
    kind=Kind.COUNTER,
    help="Energy that all domains saved, also those that are gone.",
    bound=_ONE,
)
HOST_POSSIBLE_JOULES: Final = Family(
    name="vmpower_host_possible_joules_total",
    kind=Kind.COUNTER,
    help="Energy that all domains would save if all votes were granted.",
    bound=_ONE,
)
HOST_SAVED_ERROR: Final = Family(
    name="vmpower_host_saved_error_joules_total",
    kind=Kind.COUNTER,
    help="Uncertainty of what all domains saved: one standard deviation, either way.",
    bound=_ONE,
)
ENERGY_PRICE: Final = Family(
    name="vmpower_energy_price_per_kwh",
    kind=Kind.GAUGE,
    help="The configured price of a kilowatt-hour.",
    labels=("currency",),
    bound="1, if it is configured",
)
ENERGY_CO2: Final = Family(
    name="vmpower_energy_co2_grams_per_kwh",
    kind=Kind.GAUGE,
    help="The configured grams of CO2 for each kilowatt-hour.",
    bound="1, if it is configured",
)
METER_HOLES: Final = Family(
    name="vmpower_energy_meter_holes_total",
    kind=Kind.COUNTER,
    help="Seconds in which the energy meters could not be used.",
    bound=_ONE,
)
ENERGY_MODELLED: Final = Family(
    name="vmpower_energy_modelled",
    kind=Kind.GAUGE,
    help="Whether energy is modelled (1) or measured (0).",
    bound=_ONE,
)

FAMILIES: Final = tuple(value for value in globals().values() if type(value) is Family)
"""All of them, in the order of their definition."""
