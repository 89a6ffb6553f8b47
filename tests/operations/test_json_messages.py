"""Messages of scripts for DPDK's vm_power_manager: cut out of a stream, understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.operations.dpdk.json_messages import (
    LONGEST_MESSAGE,
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
def test_f19_messages_are_whole_however_they_arrive(data: st.DataObject) -> None:
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


def test_f19_braces_in_strings_are_no_braces() -> None:
    text = '{"name": "}{\\"}"}'
    assert cut(text.encode()) == [text]


def test_s15_a_message_has_a_bound_and_its_line_is_lost_and_no_more() -> None:
    endless = b'{"name": "' + b"x" * LONGEST_MESSAGE * 3
    error, after = cut(endless, b'"}\n', b'{"command": "power"}')
    assert isinstance(error, ConfigError)
    assert f"more than {LONGEST_MESSAGE}" in str(error)
    assert after == '{"command": "power"}'


def test_what_is_no_message_is_said_once_for_a_line() -> None:
    error, after = cut(b"SCALE_MAX please\n{}", b"")
    assert "'S' is no beginning" in str(error)
    assert after == "{}"


def test_half_a_message_can_be_given_up() -> None:
    splitter = MessageSplitter()
    assert list(splitter.feed(b'{"name": "a')) == []
    waiting = [splitter.is_waiting]
    splitter.drop()
    assert [*waiting, splitter.is_waiting] == [True, False]
    assert list(splitter.feed(b"{}")) == ["{}"]


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_do_more_than_be_refused(pieces: list[bytes]) -> None:
    for message in cut(*pieces):
        assert isinstance(message, ConfigError) or message[0] == "{"


# The words


def test_a_time_policy_has_the_hours_that_it_names_and_no_hour_0() -> None:
    meant = parse(TIME)
    assert meant.command is Command.CREATE
    assert (meant.name, set(meant.cpus)) == ("fifo3", {3})
    assert meant.rule == rule(
        TimeOfDay,
        busy=("17:00-18:00", "18:00-19:00", "23:00-24:00"),
        quiet=("00:00-01:00", "02:00-03:00"),
    )


@pytest.mark.parametrize(
    ("values", "meant"),
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
def test_each_kind_of_policy_is_understood(
    values: dict[str, Any], meant: PolicyRule
) -> None:
    assert parse(values).rule == meant


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("spell", [str.upper, str.lower, str.title])
def test_f19_words_count_in_any_case(unit: Unit, spell: Any) -> None:
    meant = parse({spell("command"): spell("power"), spell("unit"): spell(unit)})
    assert (meant.command, meant.unit) == (Command.POWER, unit)


def test_f19_wrappers_lose_nothing_wherever_they_stand() -> None:
    meant = parse(
        {"command": "power", "instruction": {"unit": "SCALE_MIN", "policy": {"x": 1}}}
    )
    assert (meant.command, meant.unit) == (Command.POWER, Unit.SCALE_MIN)
    assert meant.ignored == ("'x'",)


def test_of_a_fifo_the_number_counts_and_not_the_message() -> None:
    meant = parse({"name": "fifo9", "resource_id": 9, "core_list": [8], **POWER})
    assert (meant.name, set(meant.cpus)) == ("fifo3", {3})


def test_without_a_fifo_the_message_names_its_cpus() -> None:
    assert parse({"resource_id": 10, **POWER}, None).cpus == {10}
    many = {"name": "vm1", "core_list": [4, 5], "policy_type": "WORKLOAD"}
    assert (parse(many, None).name, set(parse(many, None).cpus)) == ("vm1", {4, 5})
    assert not parse({"command": "destroy", "name": "vm1"}, None).cpus
    with pytest.raises(ConfigError, match="it names no CPU"):
        parse(POWER, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{'a': 1}", "no JSON"),
        ('{"command": "power",}', "no JSON"),
        ("[]", "no JSON object"),
        ('{"command": "CREAT"}', "command: 'CREAT' is none of CREATE, DESTROY, POWER"),
        ('{"command": 7}', "command: 7 is none of"),
        ('{"command": "power"}', "unit: None is none of"),
        ('{"command": "power", "unit": "FAST"}', "unit: 'FAST' is none of SCALE_UP"),
        ('{"policy_type": "SPEED"}', "policy_type: 'SPEED' is none of TIME"),
        (
            '{"policy_type": "TIME"}',
            "policy_type TIME: missing, expected busy_hours or quiet_hours",
        ),
        ('{"busy_hours": [24]}', "busy_hours: 24 is no hour"),
        ('{"busy_hours": [-1]}', "busy_hours: -1 is no number"),
        ('{"busy_hours": [1e29]}', "busy_hours: 1e+29 is no number"),
        ('{"busy_hours": 5}', "busy_hours: 5 is no list"),
        ('{"busy_hours": ["5"]}', "busy_hours: '5' is no number"),
        (f'{{"busy_hours": {[0] * 2000}}}', "is no list"),
        (
            '{"policy_type": "TRAFFIC", "mac_list": ["x"], "max_packet_thresh": 1}',
            "mac_list: invalid MAC address 'x'",
        ),
        ('{"policy_type": "TRAFFIC", "mac_list": [5]}', "mac_list: 5 is no text"),
        (
            '{"policy_type": "TRAFFIC", "avg_packet_thresh": 9}',
            "avg_packet_thresh: 9 is above max_packet_thresh 0",
        ),
        ('{"policy": ' * 20 + "{}" + "}" * 20, "too many wrappers"),
    ],
)
def test_dts_negative_s15_s17_what_cannot_be_meant_is_named(
    text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_instruction(text, cpu=3)
    assert complaint in str(caught.value)


def test_s17_a_name_is_short_and_plain() -> None:
    for name in ["x" * 65, "a/b", "a b", 7]:
        with pytest.raises(ConfigError, match="is no name"):
            parse({"name": name, "command": "destroy"}, None)


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
def test_no_json_does_more_than_be_refused(document: object) -> None:
    try:
        parse_instruction(json.dumps(document), cpu=1)
    except ConfigError:
        return
