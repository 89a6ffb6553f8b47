# SPDX-License-Identifier: Apache-2.0
"""The kinds of policies and their options, from their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.rule import SHARED_OPTIONS, PolicyRule, kinds_with
from scripts.manual import roff
from scripts.manual.docstrings import members_of

if TYPE_CHECKING:
    from orchestrator.policy.kinds.option import Option


def policy_keys() -> list[str]:
    """Write the keys of `[[policy]]`: those of all kinds, then those of each."""
    docs = members_of(PolicyRule)
    lines = roff.item(f"{roff.bold('match')} (text; required)", docs["match"])
    lines += roff.item(
        f"{roff.bold('kind')} (one of those below; required)", docs["kind"]
    )
    kinds: list[str] = []
    for kind, cls in KINDS.items():
        kinds += roff.item(roff.bold(f'"{kind}"'), cls.summary())
    lines += roff.indented(kinds)
    for option in SHARED_OPTIONS:
        lines += _key(option, _kinds_with(option))
    for kind, cls in KINDS.items():
        lines += roff.text(f'Options of kind `"{kind}"`:')
        own: list[str] = []
        for option in cls.options().values():
            own += _key(option)
        lines += roff.indented(own)
    return lines


def _key(option: Option, note: str = "") -> list[str]:
    about = roff.marked(option.about)
    former = f"Formerly `{option.alias}`." if option.alias else ""
    words = " ".join(filter(None, [option.doc, note, former]))
    return roff.item(f"{roff.bold(option.name)} ({about})", words)


def _kinds_with(option: Option) -> str:
    kinds = kinds_with(option)
    return f"Only of {', '.join(kinds)}." if len(kinds) < len(KINDS) else ""
