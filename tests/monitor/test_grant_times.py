# SPDX-License-Identifier: Apache-2.0
"""For how long each step was granted: what the monitor counts, and main reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.limits import Limits
from orchestrator.monitor.client.records import Records
from orchestrator.monitor.link.commands import DefineGroup, WithdrawVotes
from orchestrator.monitor.link.table import (
    GRANTED_NS,
    GRANTED_STEPS,
    SharedTable,
    create_table,
    granted_field,
)
from orchestrator.values.frequencies import table_from
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SECOND_NS,
    STEPS,
    TURBO,
    InProcessMonitor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIN, MAX = (encode(Request(0, unit)) for unit in (Unit.SCALE_MIN, Unit.SCALE_MAX))


class Both:
    """A monitor with one taken clock group, and main's view of its table."""

    def __init__(self, directory: Path) -> None:
        fd = create_table()
        self.directory, self.fd = directory, fd
        self.records = Records(SharedTable(fd))
        self.monitor = InProcessMonitor(directory, table_fd=fd)
        self.define(STEPS)
        self.monitor.hand_over()
        self.monitor.define_domain()
        self.guest = self.monitor.adopt()

    def define(self, steps: tuple[int, ...], override_khz: int | None = None) -> None:
        complete = self.records.record(
            DefineGroup(
                0, table_from(steps), Limits(0, TURBO), override_khz=override_khz
            )
        )
        assert complete is not None
        self.monitor.apply(complete)

    def request(self, packets: bytes) -> None:
        assert self.monitor.request(self.guest, packets)

    def pass_time(self, seconds: float) -> None:
        self.monitor.now_ns += round(seconds * SECOND_NS)

    def times(self) -> dict[int, float]:
        """Return the seconds of each step, the present grant included; 0: of none."""
        times = self.records.grant_times(0)
        assert times is not None
        spent = dict(zip((0, *times.steps_khz), (times.none_ns, *times.steps_ns)))  # noqa: B905
        spent[self.monitor.grant()] += times.pending_ns(self.monitor.now_ns)
        return {khz: ns / SECOND_NS for khz, ns in spent.items() if ns}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    it = Both(tmp_path)
    with it.monitor:
        yield it


def test_the_time_of_each_step_is_counted_at_the_change(both: Both) -> None:
    both.pass_time(0.5)
    both.request(MIN)
    both.pass_time(2)
    both.request(MAX)
    both.pass_time(0.25)

    assert both.times() == {TURBO: 0.5 + 0.25, LOWEST: 2.0}


def test_on_the_shortest_path_too(both: Both) -> None:
    both.request(MIN)
    for _ in range(10):
        both.pass_time(0.1)
        both.request(MAX)
        both.pass_time(0.3)
        both.request(MIN)

    (endpoint,) = both.monitor.epoll_set.endpoints.values()
    assert endpoint.plans
    assert both.times() == {LOWEST: pytest.approx(1.0), TURBO: pytest.approx(3.0)}


def test_a_request_that_was_polled_before_the_last_change_takes_no_time_back(
    both: Both,
) -> None:
    both.request(MIN)
    both.pass_time(1)
    both.define(STEPS, override_khz=MIDDLE)
    both.define(STEPS)
    both.guest.sendall(MAX)

    both.monitor.run_pass(age_ns=2_000_000)

    both.pass_time(1)
    assert both.monitor.grant() == TURBO
    assert both.times() == {LOWEST: 1.0, TURBO: 1.0}


def test_a_time_in_which_writes_are_refused_is_of_no_step(both: Both) -> None:
    both.monitor.refuse_writes()
    both.pass_time(1)
    both.request(MIN)
    both.pass_time(3)

    assert both.times() == {0: 4.0}


def test_a_group_that_is_not_taken_has_no_grant(both: Both) -> None:
    both.request(MIN)
    both.pass_time(1)
    both.monitor.apply(WithdrawVotes("0", None))
    both.pass_time(1.5)
    both.monitor.run_pass()
    both.pass_time(2)

    assert both.times() == {LOWEST: 1.0, TURBO: 1.5, 0: 2.0}


def test_another_table_has_fields_of_its_own(both: Both) -> None:
    both.request(MIN)
    both.pass_time(1)
    both.define((TURBO, NOMINAL, LOWEST))
    before = both.records.grant_times(0)
    both.pass_time(2)
    both.request(MAX)

    after = both.records.grant_times(0)
    assert before is not None
    assert after is not None
    assert after.steps_ns[-1] - before.steps_ns[-1] == 2 * SECOND_NS


def test_the_next_monitor_goes_on(both: Both, tmp_path: Path) -> None:
    both.request(MIN)
    both.pass_time(1)
    with InProcessMonitor(tmp_path, table_fd=both.fd) as second:
        second.now_ns = both.monitor.now_ns
        second.define_group()
        both.monitor, both.guest = second, second.simple()
        both.request(MIN)
        both.pass_time(2)

        assert both.times()[LOWEST] == pytest.approx(2.0)


def test_what_does_not_fit_the_row_counts_as_no_step() -> None:
    steps = tuple(range(10_000_000, 0, -50_000))

    fields = [granted_field(steps, khz) for khz in steps]

    assert fields[0] == GRANTED_NS + 1
    assert len(set(fields[:GRANTED_STEPS])) == GRANTED_STEPS
    assert set(fields[GRANTED_STEPS:]) == {GRANTED_NS}
    assert granted_field(steps, 0) == GRANTED_NS


def test_a_group_that_is_unknown_has_no_times() -> None:
    assert Records(SharedTable(create_table())).grant_times(7) is None
