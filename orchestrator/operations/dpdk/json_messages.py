# SPDX-License-Identifier: Apache-2.0
"""Parses the messages that scripts write to the FIFOs of DPDK's vm_power_manager.

Messages are JSON objects, back to back, in any number of pieces. Unlike in that
program, the case of keys and values does not matter, braces in strings do not count,
the length of a message is only limited by `MAX_MESSAGE_CHARS`, and wrappers (`policy`,
`instruction`) can be used anywhere. Unknown keys are ignored, as there.

Pure.

Source: examples/vm_power_manager/channel_monitor.c (parse_json_to_pkt) of DPDK 18.11 to
26.07, and its guide's section "JSON API".
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.rule import find_problems, make_rule
from orchestrator.policy.subject import NAME_FORM, is_name
from orchestrator.policy.timetable import HOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.policy.kinds.contract import PolicyKind
    from orchestrator.policy.rule import PolicyRule

MAX_MESSAGE_CHARS = 16_384
"""1023 in DPDK's program."""
MAX_DEPTH = 8
"""Of nested wrappers."""
MAX_IGNORED = 8
"""Unknown keys that are reported: enough to find a mistake without filling the log."""
MAX_ITEMS = 1024
"""Of a list: more CPUs than any list names."""

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)

_WRAPPERS = frozenset({"policy", "instruction"})
_BYTE_ORDER_MARK = "\ufeff"


class Unit(StrEnum):
    """How to change a frequency."""

    SCALE_UP = "scale_up"
    """One step up."""
    SCALE_DOWN = "scale_down"
    """One step down."""
    SCALE_MAX = "scale_max"
    """The highest step; turbo, if allowed."""
    SCALE_MIN = "scale_min"
    """The lowest step."""
    ENABLE_TURBO = "enable_turbo"
    """Allow the turbo step, and go there."""
    DISABLE_TURBO = "disable_turbo"
    """Forbid the turbo step; from there, go to the step below it."""


class Command(StrEnum):
    """What to do."""

    CREATE = "create"
    """Create a policy."""
    DESTROY = "destroy"
    """Remove a policy."""
    POWER = "power"
    """Change a frequency now."""


class _PolicyType(StrEnum):
    TIME = "time"
    TRAFFIC = "traffic"
    WORKLOAD = "workload"
    BRANCH_RATIO = "branch_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One parsed message."""

    command: Command
    name: str
    """Name of the policy."""
    cpus: frozenset[int]
    """Host CPUs that it applies to; `destroy` needs none."""
    unit: Unit | None = None
    """Of `power`."""
    rule: PolicyRule | None = None
    """Of `create`."""
    ignored: tuple[str, ...] = ()
    """Unknown keys, ready to be shown."""


class MessageSplitter:
    """Splits a stream into JSON objects.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False
        self._is_skipping = False

    @property
    def is_waiting(self) -> bool:
        """Whether a message is incomplete."""
        return self._depth > 0

    def feed(self, data: bytes) -> Iterator[str | ConfigError]:
        """Process a piece; yield the messages that it completes.

        Invalid input is yielded as an error, and skipped to the end of its line.
        """
        for character in self._decoder.decode(data):
            try:
                message = self._take(character)
            except ConfigError as error:
                yield error
            else:
                if message is not None:
                    yield message

    def drop(self) -> None:
        """Drop an incomplete message."""
        self._text, self._depth = "", 0
        self._is_in_string = self._is_escaped = False

    def _take(self, character: str) -> str | None:
        if self._is_skipping:
            self._is_skipping = character != "\n"
            return None
        if not self._depth and character != "{":
            if not character.isspace() and character != _BYTE_ORDER_MARK:
                self._skip(f"expected a JSON object, found {_show(character)}")
            return None
        self._text += character
        if len(self._text) > MAX_MESSAGE_CHARS:
            self._skip(f"message too long: at most {MAX_MESSAGE_CHARS} characters")
        self._track(character)
        if self._depth:
            return None
        message = self._text
        self.drop()
        return message

    def _skip(self, problem: str) -> None:
        self.drop()
        # The start of the next message is unknown; most writers end a line.
        self._is_skipping = True
        raise ConfigError(problem, hint="write JSON objects, one after another")

    def _track(self, character: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._is_in_string:
            self._is_escaped = character == "\\"
            self._is_in_string = character != '"'
        elif character == '"':
            self._is_in_string = True
        else:
            self._depth += {"{": 1, "}": -1}.get(character, 0)


def parse_instruction(text: str, *, cpu: int | None = None) -> Instruction:
    """Parse one message.

    Args:
        text: a JSON object.
        cpu: the host CPU whose FIFO it came from, which it cannot change; None: the
            message names CPUs (`resource_id`, `core_list`).

    Raises:
        ConfigError: it is invalid; the message names the key.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"invalid JSON: {error}") from error
    values: dict[str, Any] = {}
    _collect(document, values, MAX_DEPTH)
    reader = _Reader(values)
    command = reader.choice("command", Command, Command.CREATE)
    name = "policy" if cpu is None else f"fifo{cpu}"
    given_name = reader.text("name")
    instruction = Instruction(
        command=command,
        name=(given_name or name) if cpu is None else name,
        cpus=reader.cpus() if cpu is None else frozenset({cpu}),
        unit=reader.unit() if command is Command.POWER else None,
        rule=reader.rule() if command is Command.CREATE else None,
        ignored=tuple(map(_show, sorted(values.keys() - _KNOWN)))[:MAX_IGNORED],
    )
    if not instruction.cpus and command is not Command.DESTROY:
        raise ConfigError(
            "the message names no CPU",
            hint="add \"resource_id\": 3, or use 'vmpower apply --cpu 3'",
        )
    return instruction


def _collect(document: object, values: dict[str, Any], depth: int) -> None:
    if not isinstance(document, dict):
        raise ConfigError("not a JSON object")
    if not depth:
        raise ConfigError(f"nested more than {MAX_DEPTH} deep")
    for key, value in document.items():
        word = str(key).lower()
        if word in _WRAPPERS and isinstance(value, dict):
            _collect(value, values, depth - 1)
        else:
            values[word] = value


class _Reader:
    """Reads the values of one message."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def choice(
        self, key: str, kind: type[ChoiceT], otherwise: ChoiceT | None
    ) -> ChoiceT:
        value = self._values.get(key)
        if value is None and otherwise is not None:
            return otherwise
        word = value.lower() if isinstance(value, str) else None
        if word not in tuple(kind):
            expected = f"expected one of {', '.join(m.upper() for m in kind)}"
            raise ConfigError(
                f"missing {key}: {expected}"
                if value is None
                else f"invalid {key} {_show(value)}: {expected}"
            )
        return kind(word)

    def text(self, key: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str) or (value and not is_name(value)):
            raise ConfigError(f"invalid {key} {_show(value)}: expected {NAME_FORM}")
        return value

    def number(self, key: str) -> int:
        return _natural(key, self._values.get(key, 0))

    def list(self, key: str, convert: Callable[[str, object], Any]) -> tuple[Any, ...]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ConfigError(
                f"invalid {key} {_show(value)}: expected a list of at most"
                f" {MAX_ITEMS} items"
            )
        return tuple(convert(key, item) for item in value)

    def cpus(self) -> frozenset[int]:
        named = set(self.list("core_list", _natural))
        if "resource_id" in self._values:
            named.add(self.number("resource_id"))
        return frozenset(named)

    def unit(self) -> Unit:
        return self.choice("unit", Unit, None)

    def rule(self) -> PolicyRule:
        kind = self.choice("policy_type", _PolicyType, _PolicyType.TIME)
        options = {name: it for name, it in self._options(kind).items() if it != ()}
        if kind is _PolicyType.TIME and not options.keys() & {"busy", "quiet"}:
            raise ConfigError("policy_type TIME: missing busy_hours or quiet_hours")
        rule = make_rule("*", _KINDS[kind], options)
        problems = [
            f"{_key_of(problem.option)}: {problem.text}"
            for problem in find_problems(rule, _key_of)
        ]
        if problems:
            raise ConfigError(f"policy_type {kind.upper()}: {'; '.join(problems)}")
        return rule

    def _options(self, kind: _PolicyType) -> dict[str, Any]:
        match kind:
            case _PolicyType.TIME:
                return {
                    "busy": self.list("busy_hours", _hour),
                    "quiet": self.list("quiet_hours", _hour),
                    "otherwise": str(Otherwise.UNCHANGED),
                }
            case _PolicyType.TRAFFIC:
                return {
                    "macs": self.list("mac_list", _string),
                    "avg_pps": self.number("avg_packet_thresh"),
                    "max_pps": self.number("max_packet_thresh"),
                }
            case _PolicyType.WORKLOAD:
                return {"workload": self.choice("workload", Workload, Workload.LOW)}
            case _PolicyType.BRANCH_RATIO:
                return {}


def _natural(key: str, value: object) -> int:
    if type(value) is not int or value < 0:
        raise ConfigError(
            f"invalid {key} {_show(value)}: expected an integer of 0 or more"
        )
    return value


def _hour(key: str, value: object) -> str:
    hour = _natural(key, value)
    if hour >= HOURS:
        raise ConfigError(f"invalid {key} {_show(value)}: expected 0 to {HOURS - 1}")
    return f"{hour:02}:00-{hour + 1:02}:00"


def _string(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"invalid {key} {_show(value)}: expected a string")
    return value


def _key_of(option: str) -> str:
    return _KEYS.get(option, option)


def _show(value: object) -> str:
    word = repr(value)
    return word if len(word) <= 60 else f"{word[:60]}..."


_KINDS: Mapping[_PolicyType, PolicyKind] = {
    _PolicyType.TIME: TimeOfDay.kind,
    _PolicyType.TRAFFIC: Traffic.kind,
    _PolicyType.WORKLOAD: FixedWorkload.kind,
    _PolicyType.BRANCH_RATIO: BranchRatio.kind,
}
_KEYS = {
    "busy": "busy_hours",
    "quiet": "quiet_hours",
    "macs": "mac_list",
    "avg_pps": "avg_packet_thresh",
    "max_pps": "max_packet_thresh",
}
"""Keys of messages by policy option."""
_KNOWN = frozenset(
    {
        *("command", "policy_type", "workload", "busy_hours", "quiet_hours"),
        *("mac_list", "avg_packet_thresh", "max_packet_thresh", "unit"),
        *("name", "core_list", "resource_id"),
    }
)
