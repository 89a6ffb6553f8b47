# SPDX-License-Identifier: Apache-2.0
"""Guests whose P-state table is older than a pinning or a limit."""

from __future__ import annotations

import pytest

from orchestrator.config import BoundsConfig, Config
from orchestrator.onboarding.p_states import FreePlaces, plan_p_states
from orchestrator.reporting.p_state_tables import find_gaps
from orchestrator.values.domain import DomainState
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.frequencies import FrequencyTable, table_from
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain, topology, vcpu

STEPS = topology(1).groups[0].steps
FREE = FreePlaces(serials=(1, 2, 3), io_bases=(0x5C0, 0x5D0, 0x5E0))
LOW = FrequencyTable(STEPS.khz[1:], has_turbo=False)
TEXT = (
    "vCPUs 0-1: the guest has the P-state table of an earlier pinning or limit; what"
    " it requests is granted as the nearest step at or above, until 'vmpower domain"
    " onboard --p-states' and a cold start give it another table"
)


def gaps(
    *tables: FrequencyTable | None, config: Config | None = None, **more: object
) -> list[str]:
    p_states = plan_p_states(tables, FREE).p_states
    spec = domain(p_states=p_states, **more)  # type: ignore[arg-type]
    host = SimulatedHost(config or Config(), domains={spec.uuid: spec})
    host.start()
    host.settle()
    return list(find_gaps(host.inventory, host.inventory.domains[spec.uuid]))


def test_a_table_of_the_present_pinning_is_none() -> None:
    assert gaps(STEPS, STEPS) == []


@pytest.mark.parametrize(
    "table",
    [
        LOW,
        FrequencyTable(STEPS.khz[:-1], has_turbo=STEPS.has_turbo),
        table_from([*STEPS.khz, STEPS.lowest_khz + 50_000]),
    ],
)
def test_one_with_other_steps_is(table: FrequencyTable) -> None:
    assert gaps(table, table) == [TEXT]


def test_a_limit_of_the_domain_makes_it_one() -> None:
    limited = DomainSettings(max_khz=KHz(STEPS.khz[1]))
    assert gaps(STEPS, STEPS, settings=limited) == [TEXT]
    assert gaps(LOW, LOW, settings=limited) == []


def test_a_limit_of_the_host_makes_it_one() -> None:
    config = Config(bounds=BoundsConfig(max_khz=KHz(STEPS.khz[1])))
    assert gaps(STEPS, STEPS, config=config) == [TEXT]


def test_each_vcpu_counts() -> None:
    (text,) = gaps(STEPS, LOW)
    assert text.startswith("vCPU 1: ")


def test_a_vcpu_that_was_given_none_is_one_if_it_could_have_one() -> None:
    (text,) = gaps(STEPS, None)
    assert text.startswith("vCPU 1: ")
    assert gaps(STEPS, None, vcpus=(vcpu(0, 0), vcpu(1, 0, 1))) == []


def test_a_thinned_table_is_none() -> None:
    thin = FrequencyTable((STEPS.khz[0], STEPS.khz[-1]), has_turbo=False)
    assert gaps(thin, thin) == []


def test_a_domain_that_is_off_or_has_no_p_states_has_none() -> None:
    assert gaps(LOW, state=DomainState.SHUTOFF, run=-1) == []
    spec = domain(p_states=None)
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    record = host.inventory.domains[spec.uuid]
    assert list(find_gaps(host.inventory, record)) == []
