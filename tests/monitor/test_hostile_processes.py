# SPDX-License-Identifier: Apache-2.0
"""Either process sends any valid messages to the other, in any order.

That bytes are valid messages or refused is tested with the messages themselves.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.protocol import GENERATIONS
from orchestrator.errors import HandoffError
from orchestrator.limits import Limits
from orchestrator.monitor.client.client import Monitor
from orchestrator.monitor.link.commands import Command, VCpuDefinition
from orchestrator.monitor.link.messages import decode, encode
from orchestrator.monitor.link.reports import Report
from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.refusal import Refusal
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import channel, domain, vcpu
from tests.monitor.in_process_monitor import InProcessMonitor
from tests.properties import examples

if TYPE_CHECKING:
    from orchestrator.events import Event

pytestmark = pytest.mark.fuzz

SPEC = domain(vcpus=(vcpu(0, 0),), channels=(channel(0),))
UUID = SPEC.uuid
OWN_GROUPS = {0}
"""The clock groups that the domain is pinned into."""
ADOPTION = 1
LONGEST_TEXT = 500

_NATURALS = (
    st.sampled_from([0, 1, 2, 3, 7, 99, *GENERATIONS, 3_001_000])
    | st.integers(0, 2**64 - 1)
    | st.just(2**64 - 1)
)
_TEXTS = (
    st.sampled_from([str(UUID), "0", "1", "\x00" * 464, "\xff" * 16, "Ā" * 464])
    | st.text(max_size=20)
    | st.just("x" * 5_000)
)
_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    int: _NATURALS,
    bool: st.booleans(),
    str: _TEXTS,
    Refusal: st.sampled_from(Refusal),
}


def _values(annotation: Any) -> st.SearchStrategy[Any]:
    """Draw values that pass the check of a field with this annotation."""
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if isinstance(annotation, UnionType):
        (kind,) = set(arguments) - {NoneType}
        return st.none() | _values(kind)
    fields = {name: _values(hint) for name, hint in get_type_hints(annotation).items()}
    return st.builds(annotation, **fields)


_REPORTS = st.one_of(*map(_values, get_args(Report)))
_COMMANDS = st.one_of(*map(_values, get_args(Command)))


def test_the_drawn_messages_are_valid() -> None:
    @settings(max_examples=examples(100), deadline=None)
    @given(_REPORTS | _COMMANDS)
    def check(message: Any) -> None:
        assert decode(encode(message)) == message

    check()
    assert {Limits, FrequencyTable, VCpuDefinition}.isdisjoint(get_args(Command))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(_REPORTS, max_size=20))
def test_no_reports_disturb_main_or_take_a_group_of_no_domain(
    reports: list[Any],
) -> None:
    host = SimulatedHost(domains={UUID: SPEC})
    host.start()
    host.settle()

    def post(event: Event) -> None:
        host.react(event)

    monitor = Monitor(release_after_s=1, post=post)
    try:
        for record in host.inventory.groups.values():
            assert record.sent is not None
            monitor.send(record.sent)
        for report in reports:
            monitor._adoptions[UUID, 0] = ADOPTION
            with contextlib.suppress(HandoffError):  # the monitor is killed
                monitor._on_report(report)
            host.settle()
    finally:
        os.close(monitor._table_fd)
        monitor._table.close()
    assert host.taken_groups <= OWN_GROUPS
    assert all(len(report.text) <= LONGEST_TEXT for report in host.reports)
    assert len(host.inventory.groups) == len(host.topology.groups)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(_COMMANDS, st.integers(0, 4)), max_size=20))
def test_no_commands_make_the_monitor_fail_in_an_unforeseen_way(
    commands: list[tuple[Any, int]],
) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        InProcessMonitor(Path(directory)) as monitor,
    ):
        guest = monitor.simple()
        for command, count in commands:
            fds = tuple(os.open("/dev/null", os.O_RDWR) for _ in range(count))
            try:
                monitor.apply(command, fds)
            except (ValueError, LookupError, OSError):
                return  # the process ends, and main starts another one
        monitor.run_pass()
        assert guest.fileno() >= 0
