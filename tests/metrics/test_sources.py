# SPDX-License-Identifier: Apache-2.0
"""What the families say of a host."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.config import Config, EnergyConfig, PowerConfig
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.energy.ledger import Ledger
from orchestrator.energy.residency import (
    DomainEnergy,
    EnergyInterval,
    HostEnergy,
    MeterSource,
)
from orchestrator.metrics import families
from orchestrator.metrics.cpus import CpuSource
from orchestrator.metrics.domains import DomainSource
from orchestrator.metrics.energy import EnergySource
from orchestrator.metrics.families import FAMILIES
from orchestrator.metrics.family import Kind, Observations
from orchestrator.metrics.host import HostSource
from orchestrator.metrics.snapshot import LATELY_S, SnapshotTaker
from orchestrator.monitor.client.views import ChannelTotals, Totals
from orchestrator.monitor.link.table import LATENCY_BUCKETS
from orchestrator.policy.compile import order_of
from orchestrator.policy.subject import Source as PolicySource
from orchestrator.policy.subject import SourceKind
from orchestrator.policy.text import parse_policies
from orchestrator.power.obtained import WANTED_S, ObtainedFrequencies
from orchestrator.values.domain import DomainId, DomainState, NovaInstance, VCpu
from orchestrator.values.p_states import PortSteps, PStatePort
from orchestrator.values.refusal import Refusal
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, channel, domain, vcpu

if TYPE_CHECKING:
    from orchestrator.metrics.family import Family, Samples, Source

    Labels = tuple[str, ...]

NOTHING = ChannelTotals(0, 0, 0, 0, 0, 0, 0, (0,) * len(Refusal), None)
STARTED = datetime(2026, 3, 1, tzinfo=UTC)
FW = domain("fw", vcpus=(vcpu(0, 2), vcpu(1, 3), vcpu(2, 4, 5)), channels=(channel(0),))
NAMES = (FW.name, FW.uuid)


ENERGY = EnergyInterval(
    start=0.0,
    duration_s=1.0,
    domains={
        FW.uuid: DomainEnergy(
            joules=9.0,
            error_joules=0.5,
            saved_joules=4.0,
            saved_error_joules=0.25,
            possible_joules=6.0,
            residency={},
        ),
        DomainId("gone"): DomainEnergy(joules=1.0, residency={}),
    },
    host=HostEnergy(
        source=MeterSource.POWERCAP,
        measured_joules=60.0,
        static_joules=45.0,
        idle_joules=3.0,
        host_joules=2.0,
        dram_joules=7.0,
        psys_joules=90.0,
    ),
)


def refused(**causes: int) -> tuple[int, ...]:
    by_name = {name.upper(): number for name, number in causes.items()}
    return tuple(by_name.get(refusal.name, 0) for refusal in Refusal)


class Host:
    """A simulated host with one domain, and what its monitor has counted."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.simulated = SimulatedHost()
        self.simulated.domains[FW.uuid] = FW
        self.simulated.start()
        self.simulated.settle()
        self.inventory = self.simulated.inventory
        self.totals = Totals({}, {}, 0, 0, (0,) * LATENCY_BUCKETS, 0)
        self.obtained = ObtainedFrequencies(lambda: self.now_s)
        self.events: dict[str, int] = {}
        self.ledger = Ledger()
        self.ledger.add(ENERGY)
        self.snapshots = SnapshotTaker(
            self.inventory, lambda: self.totals, self.obtained, lambda: self.now_s
        )
        self.sources: tuple[Source, ...] = (
            HostSource(self.inventory, self.events, STARTED),
            CpuSource(self.inventory),
            DomainSource(self.inventory, self.simulated.engine.statuses),
            EnergySource(self.inventory, lambda: self.ledger),
        )

    def samples(self) -> list[Samples]:
        snapshot = self.snapshots.take()
        return [it for source in self.sources for it in source.read(snapshot)]

    def take(self, group: int) -> None:
        self.simulated.react(e.TakeWanted(group))
        self.simulated.settle()

    def read(self, family: Family) -> dict[Labels, float | Observations]:
        (rows,) = [it.rows for it in self.samples() if it.family is family]
        assert len({labels for labels, _ in rows}) == len(rows)
        assert all(len(labels) == len(family.labels) for labels, _ in rows)
        return dict(rows)

    def value(self, family: Family, *labels: str) -> float | Observations:
        return self.read(family)[labels]


def test_each_family_is_read_once() -> None:
    host = Host()
    found = [it.family.name for it in host.samples()]
    expected = {it.name for it in FAMILIES} - {families.SCRAPE_DURATION.name}
    assert sorted(found) == sorted(expected)


def test_energy_is_in_joules_by_zone_and_part() -> None:
    host = Host()
    assert host.read(families.DOMAIN_CPU_JOULES) == {(*NAMES, "package"): 9.0}
    assert host.read(families.DOMAIN_SAVED_JOULES) == {NAMES: 4.0}
    assert host.read(families.HOST_JOULES) == {
        ("package",): 60.0,
        ("dram",): 7.0,
        ("psys",): 90.0,
    }
    assert host.read(families.PACKAGE_PART_JOULES) == {
        ("domains",): 10.0,
        ("host",): 2.0,
        ("idle",): 3.0,
        ("static",): 45.0,
    }
    assert host.value(families.ENERGY_MODELLED) == 0


def test_what_is_possible_and_how_sure_each_figure_is() -> None:
    host = Host()
    assert host.read(families.DOMAIN_POSSIBLE_JOULES) == {NAMES: 6.0}
    assert host.value(families.HOST_POSSIBLE_JOULES) == 6.0
    assert host.read(families.DOMAIN_CPU_ERROR) == {NAMES: 0.5}
    assert host.read(families.DOMAIN_SAVED_ERROR) == {NAMES: 0.25}
    assert host.value(families.HOST_SAVED_ERROR) == 0.25


def test_what_was_saved_only_grows_as_a_counter() -> None:
    host = Host()
    loss = DomainEnergy(
        joules=9.0, saved_joules=-1.0, possible_joules=-2.0, residency={}
    )
    host.ledger.add(replace(ENERGY, domains={FW.uuid: loss}))
    assert host.ledger.domains[FW.uuid].saved_joules == 3.0
    assert host.read(families.DOMAIN_SAVED_JOULES) == {NAMES: 4.0}
    assert host.value(families.HOST_SAVED_JOULES) == 4.0
    assert host.read(families.DOMAIN_POSSIBLE_JOULES) == {NAMES: 6.0}
    assert host.value(families.HOST_POSSIBLE_JOULES) == 6.0


def test_prices_are_there_if_they_are_configured() -> None:
    host = Host()
    assert host.read(families.ENERGY_PRICE) == {}
    assert host.read(families.ENERGY_CO2) == {}
    energy = EnergyConfig(price_per_kwh=0.3, currency="CHF", co2_g_per_kwh=112.0)
    host.inventory.config = Config(energy=energy)
    assert host.read(families.ENERGY_PRICE) == {("CHF",): 0.3}
    assert host.read(families.ENERGY_CO2) == {(): 112.0}


def test_energy_that_is_not_accounted_has_no_metrics() -> None:
    host = Host()
    source = EnergySource(host.inventory, lambda: host.ledger)
    snapshot = host.snapshots.take()
    host.inventory.config = Config(energy=EnergyConfig(enabled=False))
    assert source.read(snapshot) == []
    host.inventory.config = Config()
    host.ledger = Ledger()
    assert source.read(snapshot) == []


def test_grants_of_taken_groups_are_in_hertz_for_cpus_and_vcpus() -> None:
    host = Host()
    host.totals = host.totals._replace(grants={2: 2_000_000, 3: 1_200_000})
    assert host.read(families.CPU_GRANTED) == {}
    host.take(2)
    assert host.read(families.CPU_GRANTED) == {("2",): 2e9}
    assert host.read(families.VCPU_GRANTED) == {(*NAMES, "0"): 2e9}


def test_obtained_frequencies_disappear_when_they_are_old() -> None:
    host = Host()
    host.obtained.note({3: 1_800_000, 4: None}, host.now_s)
    assert host.read(families.CPU_OBTAINED) == {("3",): 1.8e9}
    assert host.read(families.VCPU_OBTAINED) == {(*NAMES, "1"): 1.8e9}
    host.now_s += LATELY_S + 1
    assert host.read(families.CPU_OBTAINED) == {}


def test_obtained_frequencies_are_shown_over_two_missed_verifications() -> None:
    host = Host()
    config = replace(host.inventory.config, power=PowerConfig(verify_s=60.0))
    host.inventory.config = config
    host.obtained.note({3: 1_800_000}, host.now_s)
    host.now_s += 179
    assert host.value(families.CPU_OBTAINED, "3") == 1.8e9


def test_frequencies_are_wanted_while_they_are_read() -> None:
    host = Host()
    wanted = [host.obtained.is_wanted]
    host.read(families.CPU_OBTAINED)
    wanted.append(host.obtained.is_wanted)
    host.now_s += WANTED_S
    wanted.append(host.obtained.is_wanted)
    assert wanted == [False, True, False]


def test_stages_of_clock_groups_are_counted_with_what_happened_to_them() -> None:
    host = Host()
    host.take(2)
    stages = host.read(families.CLOCK_GROUPS)
    found = {stage: number for (stage,), number in stages.items() if number}
    assert found == {"taken": 1, "prepared": 1, "idle": 6}
    assert len(stages) == len(GroupStage)
    assert host.value(families.TAKES) == 1
    host.simulated.react(e.GroupYielded(2))
    host.simulated.settle()
    assert host.value(families.RESTORES) == 1
    assert host.value(families.CLOCK_GROUPS, "taken") == 0


def test_drift_is_counted_when_it_is_confirmed() -> None:
    host = Host()
    host.take(2)
    for at_s in (10.0, 11.0):
        host.simulated.react(e.GroupDrifted(2, "the governor was changed", 1, (), at_s))
    assert host.value(families.DRIFTS) == 1
    assert host.value(families.CLOCK_GROUPS, "drifted") == 1


def test_an_override_is_counted() -> None:
    host = Host()
    host.simulated.react(e.OverrideSet(2, 2_000_000, "root"))
    assert host.value(families.OVERRIDES) == 1


def test_requests_and_refusals_are_sums_over_the_channels_of_a_domain() -> None:
    host = Host()
    host.totals = host.totals._replace(
        channels={
            FW.uuid: {
                0: NOTHING._replace(acks=5, nacks=3, refused=refused(floating=3)),
                1: NOTHING._replace(acks=2, late=1, errors=4, throttled=6),
            }
        }
    )
    requests = host.read(families.DOMAIN_REQUESTS)
    assert requests == {
        ("ack", *NAMES): 7,
        ("nack", *NAMES): 3,
        ("dropped", *NAMES): 0,
        ("late", *NAMES): 1,
        ("unanswered", *NAMES): 0,
    }
    assert host.read(families.DOMAIN_REFUSALS) == {("floating", *NAMES): 3}
    assert host.read(families.DOMAIN_MALFORMED) == {NAMES: 4}
    assert host.read(families.DOMAIN_THROTTLES) == {NAMES: 6}


def test_channels_are_counted_by_state_and_generation() -> None:
    host = Host()
    host.totals = host.totals._replace(
        channels={FW.uuid: {0: NOTHING._replace(generation=464)}}
    )
    found = host.read(families.CHANNELS)
    assert found["464", "open"] == 1
    assert found["unknown", "quarantined"] == 0
    assert len(found) == 8
    assert host.read(families.DOMAIN_CHANNELS) == {("fw", "open", FW.uuid): 1}


def test_p_states_have_no_packet_size() -> None:
    host = Host()
    port = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=1, step_bits=4)
    p_states = channel(2000, steps=PortSteps(port, ((2_000_000, 1_000_000),)))
    spec = replace(FW, channels=(*FW.channels, p_states))
    host.simulated.domains[FW.uuid] = spec
    host.simulated.react(e.DomainDescribed(spec, NOW_NS))
    host.simulated.settle()
    found = host.read(families.CHANNELS)
    assert found["p-states", "open"] == found["unknown", "open"] == 1


def test_a_quarantine_is_counted() -> None:
    host = Host()
    host.simulated.react(e.ChannelAbused(FW.uuid, 0, is_garbage=True))
    assert host.value(families.QUARANTINES) == 1
    assert host.read(families.DOMAIN_CHANNELS) == {("fw", "quarantined", FW.uuid): 1}


def test_vcpus_are_counted_by_why_they_are_not_controllable() -> None:
    host = Host()
    assert host.read(families.DOMAIN_VCPUS) == {
        ("fw", "controllable", FW.uuid): 2,
        ("fw", "floating", FW.uuid): 1,
    }
    assert VCpu(2) in host.inventory.domains[FW.uuid].placements


def test_an_instance_of_openstack_has_its_name_and_project() -> None:
    host = Host()
    assert host.read(families.DOMAIN_INFO) == {
        ("fw", "enforce", "", "", FW.uuid, FW.uuid): 1
    }
    spec = replace(FW, nova=NovaInstance("edge", "telco"))
    host.simulated.react(e.DomainDescribed(spec, NOW_NS))
    assert host.read(families.DOMAIN_INFO) == {
        ("fw", "enforce", "edge", "telco", FW.uuid, FW.uuid): 1
    }


def test_policies_are_counted_by_source_and_kind() -> None:
    host = Host()
    (rule,) = parse_policies("workload low", match=FW.uuid)
    source = PolicySource(SourceKind.OPERATOR, "night")
    host.simulated.engine.install(FW.uuid, source, order_of(rule, None))
    assert host.read(families.DOMAIN_POLICIES) == {
        ("fw", "workload", "operator", FW.uuid): 1
    }


def test_a_domain_that_is_off_has_no_series_but_counts() -> None:
    host = Host()
    host.simulated.react(
        e.DomainDescribed(replace(FW, state=DomainState.SHUTOFF), NOW_NS)
    )
    host.simulated.settle()
    assert host.value(families.DOMAINS, "shut off") == 1
    assert host.value(families.DOMAINS, "running") == 0
    for family in (families.DOMAIN_INFO, families.DOMAIN_REQUESTS):
        assert host.read(family) == {}


def test_the_histogram_is_cumulative_and_in_seconds() -> None:
    host = Host()
    latencies = (1, 0, 4, *(0,) * (LATENCY_BUCKETS - 4), 2)
    host.totals = host.totals._replace(latencies=latencies, latency_sum_ns=7_000_000)
    value = host.value(families.REQUEST_LATENCY)
    assert isinstance(value, Observations)
    assert (value.total, value.number) == (0.007, 7)
    assert value.buckets[:4] == (
        (1.024e-06, 1),
        (2.048e-06, 1),
        (4.096e-06, 5),
        (8.192e-06, 5),
    )
    assert value.buckets[-1] == (0.008388608, 7)


def test_the_daemon_is_described() -> None:
    host = Host()
    host.events["refusal"] = 3
    host.totals = host.totals._replace(writes=9, refused_writes=1)
    assert host.value(families.START_TIME) == STARTED.timestamp()
    assert host.value(families.ENFORCING) == 1
    assert host.value(families.LIBVIRT_CONNECTED) == 1
    assert host.value(families.MONITOR_UP) == 1
    assert host.value(families.EVENTS, "refusal") == 3
    assert host.value(families.EVENTS, "drift") == 0
    assert host.value(families.WRITES) == 9
    assert host.value(families.REFUSED_WRITES) == 1
    assert host.value(families.CHANNEL_BUDGET) == 50_000


def test_series_stay_within_their_documented_bounds() -> None:
    host = Host()
    for family, rows in host.samples():
        first, _, _ = family.bound.partition(" ")
        if first.strip(":,").isdigit() and "each" not in family.bound:
            series = 1 if family.kind is Kind.HISTOGRAM else len(rows)
            assert series <= int(first.strip(":,")), family.name
