# SPDX-License-Identifier: Apache-2.0
"""Which P-states a domain gets, and over which ports it requests them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.acpi.p_state_table import mhz_of
from orchestrator.errors import DomainXmlError
from orchestrator.limits import Limits
from orchestrator.onboarding.p_states import (
    IO_BASES,
    FreePlaces,
    cut_table,
    plan_p_states,
    thin_out,
)
from orchestrator.values.frequencies import FrequencyTable, table_from

TABLE = table_from([2_301_000, *range(800_000, 2_300_001, 100_000)])
FREE = FreePlaces(serials=(1, 2, 3), io_bases=IO_BASES)
TABLES = st.builds(
    table_from, st.sets(st.integers(1, 9_000_000), min_size=1, max_size=60)
)


@pytest.mark.parametrize(
    ("vcpus", "bits", "expected"),
    [
        (1, 4, [(0, 1)]),
        (2, 4, [(0, 2)]),
        (16, 4, [(0, 16)]),
        (17, 4, [(0, 16), (16, 1)]),
        (48, 4, [(0, 16), (16, 16), (32, 16)]),
        (49, 3, [(0, 32), (32, 17)]),
        (64, 3, [(0, 32), (32, 32)]),
    ],
)
def test_the_ports_serve_all_vcpus(
    vcpus: int, bits: int, expected: list[tuple[int, int]]
) -> None:
    plan = plan_p_states([TABLE] * vcpus, FREE)
    ports = plan.p_states.ports
    assert [(port.first_vcpu, port.vcpus) for port in ports] == expected
    assert {port.step_bits for port in ports} == {bits}
    assert [port.io_base for port in ports] == [0x5C0, 0x5D0, 0x5E0][: len(ports)]
    assert plan.serials == (1, 2, 3)[: len(ports)]
    assert len(plan.p_states.tables) == vcpus
    assert len(plan.p_states.tables[-1].khz if plan.p_states.tables[-1] else ()) == (
        1 << bits
    )


@pytest.mark.parametrize(("vcpus", "bits"), [(16, 4), (17, 3), (32, 3)])
def test_fewer_free_ports_serve_more_vcpus_with_fewer_steps(
    vcpus: int, bits: int
) -> None:
    free = FreePlaces(serials=(2,), io_bases=(0x5E0,))
    plan = plan_p_states([TABLE] * vcpus, free)
    [port] = plan.p_states.ports
    assert (port.io_base, port.step_bits, port.vcpus) == (0x5E0, bits, vcpus)
    assert plan.serials == (2,)


@pytest.mark.parametrize(
    ("vcpus", "free", "problem"),
    [
        (65, FREE, "at most 64"),
        (33, FreePlaces(serials=(3,), io_bases=IO_BASES), "not enough serial ports"),
        (33, FreePlaces(serials=(1, 2), io_bases=IO_BASES[:1]), "and 1 can be used"),
        (1, FreePlaces(serials=(), io_bases=IO_BASES), "not enough serial ports"),
        (0, FREE, "no vCPU can have P-states"),
    ],
)
def test_a_domain_without_enough_ports_is_refused(
    vcpus: int, free: FreePlaces, problem: str
) -> None:
    with pytest.raises(DomainXmlError, match=problem):
        plan_p_states([TABLE] * vcpus, free)


def test_vcpus_without_a_table_at_the_end_need_no_port() -> None:
    plan = plan_p_states([None, TABLE, *[None] * 63], FREE)
    assert [port.vcpus for port in plan.p_states.ports] == [2]
    assert plan.p_states.tables[0] is None
    assert len(plan.p_states.tables) == 2


def test_each_vcpu_keeps_its_own_table() -> None:
    slow = table_from([1_000_000, 500_000])
    plan = plan_p_states([TABLE, slow], FREE)
    assert plan.p_states.tables == (thin_out(TABLE, 16), slow)


@pytest.mark.parametrize(
    ("limits", "steps", "has_turbo"),
    [
        (Limits(), 17, True),
        (Limits(max_khz=2_300_000), 16, False),
        (Limits(min_khz=2_250_000), 2, True),
        (Limits(min_khz=2_000_000, max_khz=2_150_000), 2, False),
    ],
)
def test_a_table_is_cut_to_limits(
    limits: Limits,
    steps: int,
    has_turbo: bool,  # noqa: FBT001 - a case
) -> None:
    cut = cut_table(TABLE, limits)
    assert cut is not None
    assert (len(cut.khz), cut.has_turbo) == (steps, has_turbo)
    assert set(cut.khz) <= set(TABLE.khz)


def test_a_single_step_is_no_table() -> None:
    assert cut_table(TABLE, Limits(min_khz=800_000, max_khz=800_000)) is None


def test_steps_that_are_one_in_mhz_are_one_step() -> None:
    table = FrequencyTable((2_000_900, 2_000_100, 1_000_000, 900), has_turbo=False)
    cut = cut_table(table)
    assert cut is not None
    assert cut.khz == (2_000_900, 1_000_000)


@given(table=TABLES, most=st.sampled_from([8, 16]))
def test_thinning_out_keeps_the_important_steps(
    table: FrequencyTable, most: int
) -> None:
    thin = thin_out(table, most)
    assert len(thin.khz) == min(most, len(table.khz))
    assert list(thin.khz) == sorted(set(thin.khz), reverse=True)
    assert set(thin.khz) <= set(table.khz)
    assert thin.highest_khz == table.highest_khz
    assert thin.nominal_khz == table.nominal_khz
    assert thin.lowest_khz == table.lowest_khz
    assert thin.has_turbo is table.has_turbo


@given(table=TABLES)
def test_a_guest_finds_descending_frequencies(table: FrequencyTable) -> None:
    cut = cut_table(table)
    if cut is not None:
        mhz = mhz_of(cut)
        assert list(mhz) == sorted(set(mhz), reverse=True)
        assert mhz[-1] > 0
