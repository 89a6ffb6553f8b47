# SPDX-License-Identifier: Apache-2.0
"""What the bytes from a domain's ports request."""

from __future__ import annotations

import pytest

from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.p_states import (
    PStatePort,
    PStates,
    steps_per_vcpu,
    vcpus_per_port,
)

FAST = FrequencyTable((3_000_000, 2_300_000, 1_000_000), has_turbo=True)
SLOW = FrequencyTable((2_000_000, 800_000), has_turbo=False)
FIRST = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=16, step_bits=4)
SECOND = PStatePort(io_base=0x5D0, irq=4, first_vcpu=16, vcpus=2, step_bits=4)
P_STATES = PStates(tables=(FAST,) * 15 + (None, SLOW, SLOW), ports=(FIRST, SECOND))


@pytest.mark.parametrize(
    ("port", "byte", "expected"),
    [
        (FIRST, 0x00, (0, 0, 3_000_000)),
        (FIRST, 0xE2, (14, 2, 1_000_000)),
        (FIRST, 0xE3, (14, 3, None)),  # no such step
        (FIRST, 0xF0, (15, 0, None)),  # a vCPU without P-states
        (SECOND, 0x01, (16, 1, 800_000)),
        (SECOND, 0x10, (17, 0, 2_000_000)),
        (SECOND, 0x20, (18, 0, None)),  # no such vCPU
        (SECOND, 0xFF, (31, 15, None)),
    ],
)
def test_a_byte_names_a_vcpu_and_a_step(
    port: PStatePort, byte: int, expected: tuple[int, int, int | None]
) -> None:
    khz = P_STATES.steps_of(port).find_khz(byte)
    assert (*port.split(byte), khz) == expected


def test_a_port_may_name_vcpus_without_a_table() -> None:
    wide = PStatePort(io_base=0x5E0, irq=5, first_vcpu=16, vcpus=16, step_bits=4)
    steps = P_STATES.steps_of(wide)
    assert steps.find_khz(0x20) is None
    assert [vcpu for vcpu in range(40) if steps.has_vcpu(vcpu)] == [16, 17]


@pytest.mark.parametrize(("step_bits", "vcpus", "steps"), [(4, 16, 16), (3, 32, 8)])
def test_every_byte_is_one_request_at_most(
    step_bits: int, vcpus: int, steps: int
) -> None:
    assert (vcpus_per_port(step_bits), steps_per_vcpu(step_bits)) == (vcpus, steps)
    port = PStatePort(
        io_base=0x5C0, irq=3, first_vcpu=32, vcpus=vcpus, step_bits=step_bits
    )
    made = [
        port.encode(32 + vcpu, step) for vcpu in range(vcpus) for step in range(steps)
    ]
    assert sorted(made) == list(range(256))
    assert [port.split(byte) for byte in made] == [
        (32 + vcpu, step) for vcpu in range(vcpus) for step in range(steps)
    ]
