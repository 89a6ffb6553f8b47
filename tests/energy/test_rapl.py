# SPDX-License-Identifier: Apache-2.0
"""The counter that QEMU scales: what its guest gets is what the domain drew."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.energy.rapl import (
    CONSTANTS,
    POWER_INFO,
    POWER_LIMIT,
    POWER_UNIT,
    QUESTION,
    Ramp,
    in_units,
)

TICKS_PER_S = 100
INTERVALS = st.lists(
    st.tuples(
        st.floats(0, 1_000), st.floats(0, 64), st.floats(0.5, 3), st.floats(0.1, 4)
    ),
    max_size=20,
)


class Second(NamedTuple):
    """What a domain does in a second."""

    run_s: float
    joules: float


def domain_of(kind: str, seed: int) -> list[Second]:
    """Return ten minutes of a domain with four vCPUs."""
    rng = random.Random(seed)
    if kind == "polls":
        return [Second(4.0, 4.0 * rng.choice((1.5, 4.0))) for _ in range(600)]
    if kind == "is busy at times":
        loads = [rng.uniform(0.5, 1.0) for _ in range(600)]
        return [Second(4 * it, 4 * it * rng.uniform(1.0, 4.0)) for it in loads]
    return [Second(0.0, 0.0)] * 300 + [Second(2.0, 5.0)] * 300


def read_as_qemu(seconds: list[Second], *, cpus: int, phase_s: float) -> float:
    """Return the joules that QEMU gives the guest; it reads once a second."""
    ramp, given_j, last = Ramp(), 0.0, 0
    ran_s = drawn_s = 0.0
    for number, second in enumerate([*seconds, Second(0.0, 0.0)]):
        ramp.add(second.joules, second.run_s, 1.0, float(number + 1))
        counter = in_units(ramp.at(number + 1 + phase_s) * cpus)
        # QEMU's ticks are those of its own second, the counter is one behind.
        ran_s += second.run_s * phase_s
        ticks = int(ran_s * TICKS_PER_S) - int(drawn_s * TICKS_PER_S)
        drawn_s, ran_s = ran_s, ran_s + second.run_s * (1 - phase_s)
        given_j += (counter - last) / 2**14 * ticks / (TICKS_PER_S * cpus)
        last = counter
    return given_j


@pytest.mark.parametrize("phase_s", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("cpus", [1, 16, 128])
@pytest.mark.parametrize("kind", ["polls", "is busy at times", "begins late"])
def test_a_guest_gets_what_its_domain_drew(
    kind: str, cpus: int, phase_s: float
) -> None:
    seconds = domain_of(kind, 7)
    drawn = sum(second.joules for second in seconds)
    given_j = read_as_qemu(seconds, cpus=cpus, phase_s=phase_s)
    assert given_j == pytest.approx(drawn, rel=0.02)


@example([(0.5, 12.0, 1.0, 1.0), (1.0, 0.5, 1.75, 0.5), *[(0.0, 0.0, 1.0, 1.0)] * 2])
@given(INTERVALS)
def test_a_counter_never_falls(
    intervals: list[tuple[float, float, float, float]],
) -> None:
    """Whenever samples arrive, and whatever they are."""
    ramp, now_s, last = Ramp(), 100.0, 0.0
    for joules, run_s, duration_s, passed_s in intervals:
        ramp.add(joules, run_s, duration_s, now_s)
        for share in (0.0, 0.3, 0.9, 1.0):
            found = ramp.at(now_s + share * passed_s)
            assert found >= last
            last = found
        now_s += passed_s


def test_an_interval_is_counted_once_it_is_over() -> None:
    ramp = Ramp()
    ramp.add(30.0, 3.0, 2.0, 100.0)
    assert [ramp.at(100.0 + it) for it in (0.0, 0.5, 2.0, 9.0)] == [0, 5, 20, 20]
    # A sample that is early loses nothing.
    ramp.add(10.0, 1.0, 1.0, 109.0)
    ramp.add(10.0, 1.0, 1.0, 109.5)
    assert ramp.at(109.5) == 25
    assert ramp.at(110.5) == 40


def test_a_domain_that_did_not_run_adds_nothing() -> None:
    ramp = Ramp()
    ramp.add(5.0, 0.0, 1.0, 100.0)
    ramp.add(-5.0, 1.0, 1.0, 101.0)
    assert ramp.at(110.0) == 0


def test_registers_are_those_of_the_manual() -> None:
    """Units of 61 microjoules, 125 milliwatts and 977 microseconds; no limit."""
    assert CONSTANTS[POWER_UNIT] == 0xA0E03
    assert CONSTANTS[POWER_LIMIT] == 1 << 63
    assert CONSTANTS[POWER_INFO] == 2_000 * 8 < 1 << 15
    assert in_units(1.0) == 16_384
    assert QUESTION.pack(0x611, 3, 4_711) == b"".join(
        number.to_bytes(4, "little") for number in (0x611, 3, 4_711)
    )
