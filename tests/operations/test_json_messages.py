# SPDX-License-Identifier: Apache-2.0
"""Messages of scripts for DPDK's vm_power_manager: splitting and parsing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.operations.dpdk.json_messages import (
    MAX_MESSAGE_CHARS,
    Command,
    Instruction,
    MessageSplitter,
    Unit,
    parse_instruction,
)
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.rule import PolicyRule, make_rule

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import Policy

TIME = {
    "policy": {
        "command": "create",
        "policy_type": "TIME",
        "busy_hours": [17, 18, 23],
        "quiet_hours": [0, 2],
    }
}
POWER = {"instruction": {"command": "power", "unit": "SCALE_MAX"}}


def parse(values: dict[str, Any], cpu: int | None = 3) -> Instruction:
    return parse_instruction(json.dumps(values), cpu=cpu)


def rule(kind: type[Policy[Any, Any]], **options: Any) -> PolicyRule:
    return make_rule("*", kind.kind, options)


# The stream


def cut(*pieces: bytes) -> list[str | ConfigError]:
    splitter = MessageSplitter()
    return [message for piece in pieces for message in splitter.feed(piece)]


@given(st.data())
def test_f19_messages_may_be_split_anywhere(data: st.DataObject) -> None:
    messages = [TIME, POWER, {"name": 'a "{" b}'}, {"name": "ü\\", "x": {"y": {}}}]
    texts = [json.dumps(m, ensure_ascii=False) for m in messages]
    stream = data.draw(st.sampled_from(["", "\n", " \r\n\t"])).join(texts).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [
        stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    assert cut(*pieces) == texts


def test_f19_a_message_without_a_newline_is_one_message() -> None:
    text = json.dumps(POWER)
    assert cut(text.encode()) == [text]


def test_f19_braces_in_strings_do_not_count() -> None:
    text = '{"name": "}{\\"}"}'
    assert cut(text.encode()) == [text]


def test_s15_the_length_of_a_message_is_limited_and_only_its_line_is_dropped() -> None:
    endless = b'{"name": "' + b"x" * MAX_MESSAGE_CHARS * 3
    error, after = cut(endless, b'"}\n', b'{"command": "power"}')
    assert isinstance(error, ConfigError)
    assert f"message too long: at most {MAX_MESSAGE_CHARS}" in str(error)
    assert after == '{"command": "power"}'


def test_invalid_input_is_reported_once_for_a_line() -> None:
    error, after = cut(b"SCALE_MAX please\n{}", b"")
    assert "expected a JSON object, found 'S'" in str(error)
    assert after == "{}"


def test_an_incomplete_message_can_be_dropped() -> None:
    splitter = MessageSplitter()
    assert list(splitter.feed(b'{"name": "a')) == []
    waiting = [splitter.is_waiting]
    splitter.drop()
    assert [*waiting, splitter.is_waiting] == [True, False]
    assert list(splitter.feed(b"{}")) == ["{}"]


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=50)))
def test_any_bytes_are_either_messages_or_refused(pieces: list[bytes]) -> None:
    for message in cut(*pieces):
        assert isinstance(message, ConfigError) or message[0] == "{"


# Keys and values


def test_a_time_policy_has_only_the_hours_that_it_names() -> None:
    parsed = parse(TIME)
    assert parsed.command is Command.CREATE
    assert (parsed.name, set(parsed.cpus)) == ("fifo3", {3})
    assert parsed.rule == rule(
        TimeOfDay,
        busy=("17:00-18:00", "18:00-19:00", "23:00-24:00"),
        quiet=("00:00-01:00", "02:00-03:00"),
        otherwise="unchanged",
    )


@pytest.mark.parametrize(
    ("values", "parsed"),
    [
        (
            {"policy_type": "WORKLOAD", "workload": "MEDIUM"},
            rule(FixedWorkload, workload=Workload.MEDIUM),
        ),
        (
            {"policy_type": "WORKLOAD"},
            rule(FixedWorkload, workload=Workload.LOW),
        ),
        ({"policy_type": "BRANCH_RATIO"}, rule(BranchRatio)),
        (
            {
                "policy_type": "TRAFFIC",
                "mac_list": ["de:ad:be:ef:01:01", "DEAD:BEEF:0102"],
                "avg_packet_thresh": 100_000,
                "max_packet_thresh": 500_000,
                "busy_hours": [1],
            },
            rule(
                Traffic,
                macs=("de:ad:be:ef:01:01", "DEAD:BEEF:0102"),
                avg_pps=100_000,
                max_pps=500_000,
            ),
        ),
    ],
)
def test_each_kind_of_policy_is_parsed(
    values: dict[str, Any], parsed: PolicyRule
) -> None:
    assert parse(values).rule == parsed


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("spell", [str.upper, str.lower, str.title])
def test_f19_the_case_of_keys_and_values_does_not_matter(
    unit: Unit, spell: Any
) -> None:
    parsed = parse({spell("command"): spell("power"), spell("unit"): spell(unit)})
    assert (parsed.command, parsed.unit) == (Command.POWER, unit)


def test_f19_wrappers_can_be_used_anywhere() -> None:
    parsed = parse(
        {"command": "power", "instruction": {"unit": "SCALE_MIN", "policy": {"x": 1}}}
    )
    assert (parsed.command, parsed.unit) == (Command.POWER, Unit.SCALE_MIN)
    assert parsed.ignored == ("'x'",)


def test_the_cpu_of_a_fifo_takes_precedence_over_the_message() -> None:
    parsed = parse({"name": "fifo9", "resource_id": 9, "core_list": [8], **POWER})
    assert (parsed.name, set(parsed.cpus)) == ("fifo3", {3})


def test_without_a_fifo_the_message_names_its_cpus() -> None:
    assert parse({"resource_id": 10, **POWER}, None).cpus == {10}
    many = {"name": "vm1", "core_list": [4, 5], "policy_type": "WORKLOAD"}
    assert (parse(many, None).name, set(parse(many, None).cpus)) == ("vm1", {4, 5})
    assert not parse({"command": "destroy", "name": "vm1"}, None).cpus
    with pytest.raises(ConfigError, match="the message names no CPU"):
        parse(POWER, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{'a': 1}", "invalid JSON"),
        ('{"command": "power",}', "invalid JSON"),
        ("[]", "not a JSON object"),
        (
            '{"command": "CREAT"}',
            "invalid command 'CREAT': expected one of CREATE, DESTROY, POWER",
        ),
        ('{"command": 7}', "invalid command 7: expected one of"),
        ('{"command": "power"}', "missing unit: expected one of SCALE_UP"),
        (
            '{"command": "power", "unit": "FAST"}',
            "invalid unit 'FAST': expected one of SCALE_UP",
        ),
        (
            '{"policy_type": "SPEED"}',
            "invalid policy_type 'SPEED': expected one of TIME",
        ),
        (
            '{"policy_type": "TIME"}',
            "policy_type TIME: missing busy_hours or quiet_hours",
        ),
        ('{"busy_hours": [24]}', "invalid busy_hours 24: expected 0 to 23"),
        ('{"busy_hours": [-1]}', "invalid busy_hours -1: expected an integer"),
        ('{"busy_hours": [1e29]}', "invalid busy_hours 1e+29: expected an integer"),
        ('{"busy_hours": 5}', "invalid busy_hours 5: expected a list"),
        ('{"busy_hours": ["5"]}', "invalid busy_hours '5': expected an integer"),
        (f'{{"busy_hours": {[0] * 2000}}}', "expected a list of at most 1024 items"),
        (
            '{"policy_type": "TRAFFIC", "mac_list": ["x"], "max_packet_thresh": 1}',
            "mac_list: invalid MAC address 'x'",
        ),
        (
            '{"policy_type": "TRAFFIC", "mac_list": [5]}',
            "invalid mac_list 5: expected a string",
        ),
        (
            '{"policy_type": "TRAFFIC", "avg_packet_thresh": 9}',
            "avg_packet_thresh: 9 is above max_packet_thresh 0",
        ),
        ('{"policy": ' * 20 + "{}" + "}" * 20, "nested more than 8 deep"),
    ],
)
def test_dts_negative_s15_s17_an_invalid_message_is_refused_with_the_reason(
    text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_instruction(text, cpu=3)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "name", ["x" * 201, "a/b", " a", "a\nb", "a\x1b[31m", "\u202eb", "..", 7, None]
)
def test_s17_a_name_is_short_and_printable(name: object) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 200 printable characters"):
        parse({"name": name, "command": "destroy"}, None)


@pytest.mark.parametrize("name", ["Router VM (prod)+1", "0123456789" * 7, "größe"])
def test_a_name_may_be_that_of_any_domain(name: str) -> None:
    assert parse({"name": name, "command": "destroy"}, None).name == name


def test_a_byte_order_mark_is_ignored() -> None:
    power = json.dumps(POWER)
    assert cut(f"\ufeff{power}\n\ufeff{power}".encode()) == [power, power]


@pytest.mark.fuzz
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["command", "policy", "unit", "busy_hours", "name"])
                | st.text(max_size=5),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_either_a_message_or_refused(document: object) -> None:
    try:
        parse_instruction(json.dumps(document), cpu=1)
    except ConfigError:
        return
