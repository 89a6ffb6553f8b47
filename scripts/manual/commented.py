# SPDX-License-Identifier: Apache-2.0
"""`make man`: write examples/vmpower.toml, every option as a comment.

An option with a default is shown with it, one without with an example.
"""

from __future__ import annotations

import enum
import json
import sys
import textwrap
import typing
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from orchestrator.config import Config
from orchestrator.config_files import key_of
from orchestrator.policy.rule import PolicyRule
from scripts.manual.configuration import fields_of, table_of
from scripts.manual.docstrings import members_of

_WIDTH = 88
_HEAD = """\
# Configuration of vmpowerd, with every option. Remove the "#" of what you want to
# change. What is commented out shows the default, or an example where the default is
# not set; rules are examples. Files of your own can be in conf.d/*.toml beside this
# one: each overrides the options that it sets. See vmpower.toml(5). Afterwards:
#
#   vmpowerd --check-config         # validates it
#   systemctl reload vmpowerd       # or: kill -HUP PID
"""
_EXAMPLES: dict[str, object] = {
    "min_khz": "1.2GHz",
    "max_khz": "2.6GHz",
    "max_latency_us": 100,
    "preference": "balance_power",
    "directory": {
        "FifoConfig": "/run/vmpower/fifo",
        "HistoryConfig": "/var/lib/vmpower",
    },
    "price_per_kwh": 0.3,
    "co2_g_per_kwh": 350.0,
    "listen": "127.0.0.1:9723",
    "match": {"DomainRule": "fw-*", "OnboardRule": "dpdk-*"},
    "turbo": False,
    "mode": "observe",
    "queries": True,
    "energy_queries": False,
    "rapl": True,
    "rapl_socket": "/run/vmpower/rapl.sock",
    "guest_policies": False,
    "policies": "utilisation up-above=0.9; workload low vcpus=3",
    "generation": 464,
    "onboard": True,
    "idle_latency_us": 50,
    "epp": "performance",
    "emulator": "follow",
    "pinned": True,
}
"""Values of options that are not set by default; of `match`, by class."""
_POLICIES = """\
# 'vmpower policy set --help' lists the kinds and their options.
#[[policy]]
#match = "web-*"
#kind = "utilisation"

#[[policy]]
#match = "batch-*"
#kind = "time-of-day"
#quiet = ["mon-fri 20:00-06:00", "sat", "sun"]
"""


def commented_configuration() -> str:
    """Return the text of the file."""
    top: list[str] = []
    tables: list[str] = []
    for field, kind in fields_of(Config):
        table = table_of(kind)
        if table is None:
            top += _option(Config, field)
        elif table is PolicyRule:
            tables += ["", *_comment(table.__doc__), *_POLICIES.splitlines()]
        else:
            is_list = typing.get_origin(kind) is tuple
            name = key_of(field.name)
            tables += ["", *_comment(table.__doc__)]
            tables += _comment(members_of(Config).get(field.name))
            tables.append(f"#[[{name}]]" if is_list else f"[{name}]")
            # The required ones, which say what a rule is about, come first.
            for inner, _ in sorted(
                fields_of(table), key=lambda it: not _is_required(it[0])
            ):
                tables += _option(table, inner)
    return "\n".join([_HEAD, *top, *tables]) + "\n"


def _comment(text: str | None) -> list[str]:
    lines: list[str] = []
    for paragraph in (text or "").strip().split("\n\n"):
        words = " ".join(paragraph.split())
        lines += textwrap.wrap(
            words, _WIDTH, initial_indent="# ", subsequent_indent="# "
        )
    return lines


def _option(cls: type[Any], field: Any) -> list[str]:  # noqa: ANN401 - any dataclass
    lines = _comment(members_of(cls).get(field.name))
    if isinstance(field.default, enum.Enum):
        docs = members_of(type(field.default))
        for member in type(field.default):
            lines += _comment(f'"{member.value}": {docs[member.name]}')
    return ["", *lines, f"#{key_of(field.name)} = {_value(cls, field)}"]


def _is_required(field: Any) -> bool:  # noqa: ANN401 - the same
    return field.default is MISSING and field.default_factory is MISSING


def _value(cls: type[Any], field: Any) -> str:  # noqa: ANN401 - the same
    value = field.default
    if isinstance(value, enum.Enum):
        value = value.value
    if value in (None, "", MISSING) and field.name in _EXAMPLES:
        value = _EXAMPLES[field.name]
        value = value[cls.__name__] if isinstance(value, dict) else value
    if value is None or value is MISSING:
        sys.exit(f"give an example of {cls.__name__}.{field.name} in {__file__}")
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value)


def main() -> None:
    """Write the file given on the command line."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/vmpower.toml")
    output.write_text(commented_configuration(), encoding="utf-8")


if __name__ == "__main__":
    main()
