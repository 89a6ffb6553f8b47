# SPDX-License-Identifier: Apache-2.0
"""What commands print as JSON, compared with its reference (docs/json.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NotRequired, get_origin

import pytest

from cli.output.documents import DOCUMENTS, CommandError
from cli.output.echo import SCHEMA
from orchestrator.power.simulated import lay_out
from orchestrator.values.domain_settings import Mode
from scripts.api.output import is_document, keys_of, parts_of
from tests.cli.commands import walk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Vmpower

DRIVER = "-c test:///default"
LINES = (
    "status",
    "domain list",
    "domain show dpdk-fw",
    f"{DRIVER} domain pin test 0 1",
    f"{DRIVER} domain set test --max 2.4GHz --mode observe",
    f"{DRIVER} domain onboard test",
    f"{DRIVER} domain offboard test",
    f"{DRIVER} domain add new --pin 1 --define",
    "channel list",
    "channel disable dpdk-fw 0",
    "channel enable dpdk-fw all",
    "cpu list",
    "cpu show 0-3",
    "cpu set 2 min",
    "cpu release 2",
    "cpu retake 2",
    "policy list",
    "policy set dpdk-fw workload low",
    "policy preview time-of-day quiet=22:00-06:00",
    "policy remove dpdk-fw cli",
    "energy show",
    "energy explain dpdk-fw",
    "energy calibrate --idle --seconds 1",
    "template list",
    "template show nfv",
    "events",
    "report",
    "advise",
    "doctor",
    "tuned-profile 2-3",
    "restore --sysfs-root cpus",
    "apply messages.json",
)


PLAIN: dict[object, tuple[type, ...]] = {float: (float, int), Mode: (str,)}
"""Types of JSON values of a kind, where they are not of the kind itself."""


def differences(value: Any, annotation: Any, at: str) -> list[str]:
    """List the keys that a value has too many or too few, and values of wrong kinds."""
    kind, inside = parts_of(annotation)
    if kind == "union":
        return min((differences(value, each, at) for each in inside), key=len)
    if kind in (list, dict) and isinstance(value, kind):
        items = list(value.values() if kind is dict else value)
        return [it for item in items for it in differences(item, inside[0], at)]
    if is_document(kind) and isinstance(value, dict):
        return _key_differences(value, kind, at)
    is_right = not is_document(kind) and isinstance(value, PLAIN.get(kind, kind))
    return [] if is_right else [f"{at}: {value!r} is not {kind}"]


def _key_differences(value: dict[str, Any], kind: type, at: str) -> list[str]:
    keys = keys_of(kind)
    required = {name for name, it in keys.items() if get_origin(it) is not NotRequired}
    found = [f"{at}.{name}: missing" for name in sorted(required - value.keys())]
    found += [f"{at}.{name}: unknown" for name in sorted(value.keys() - keys.keys())]
    for name in value.keys() & keys.keys():
        found += differences(value[name], keys[name], f"{at}.{name}")
    return found


def command_of(line: str) -> str:
    """Return the full name of the command of a line."""
    words = f" {line} "
    (name,) = (name for name in DOCUMENTS if f"{name[len('vmpower') :]} " in words)
    return name


def test_each_command_that_prints_json_is_in_the_reference() -> None:
    having = {
        context.command_path
        for context in walk()
        if any(it.name == "output" for it in context.command.params)
        if not hasattr(context.command, "list_commands")
    }
    # These use the global option.
    assert set(DOCUMENTS) == having | {"vmpower domain add", "vmpower domain pin"}


@pytest.mark.parametrize("line", LINES)
def test_what_a_command_prints_has_the_keys_of_the_reference(
    line: str, vmpower: Vmpower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path / "cpus", cpus=2)
    monkeypatch.setattr("cli.commands.energy_calibration.MAX_BUSY", 2.0)
    message = {"instruction": {"command": "power", "unit": "SCALE_MIN"}}
    (tmp_path / "messages.json").write_text(json.dumps(message), encoding="utf-8")
    result = vmpower("-o", "json", *line.split())
    kind = DOCUMENTS[command_of(line)]
    texts = result.stdout.splitlines() if line == "events" else [result.stdout]
    assert texts, result.stderr
    for text in texts:
        document = json.loads(text)
        assert document["schema"] == SCHEMA
        if "schema" not in keys_of(kind):
            del document["schema"]
        assert differences(document, kind, line) == []


def test_every_document_of_the_reference_is_compared() -> None:
    assert set(map(command_of, LINES)) == set(DOCUMENTS)


def test_an_error_has_the_keys_of_the_reference(vmpower: Vmpower) -> None:
    document = json.loads(vmpower("domain", "show", "nosuch", "-o", "json").stderr)
    assert document.pop("schema") == SCHEMA
    assert differences(document, CommandError, "error") == []


def test_a_difference_is_found() -> None:
    failure: dict[str, object] = {"message": "a", "hint": "b", "status": 1}
    for wrong in ({"more": 1}, {"status": "1"}, {"hint": None}):
        assert differences({"error": failure | wrong}, CommandError, "x")
    del failure["hint"]
    assert differences({"error": failure}, CommandError, "x") == [
        "x.error.hint: missing"
    ]
