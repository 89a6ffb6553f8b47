# SPDX-License-Identifier: Apache-2.0
"""Foreign text on a terminal and in a log."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.__main__ import LOG_FORMAT, LineFormatter
from orchestrator.values.safe_text import printable, printable_json, printable_lines

NASTY = ("\x1b[31m", "\x9b31m", "\x9d0;title\x9c", "\u202e", "\x85", "\r", "\ud800")


@pytest.mark.parametrize("nasty", NASTY)
def test_nothing_is_left_that_a_terminal_interprets(nasty: str) -> None:
    assert printable(f"a{nasty}b").isprintable()
    assert printable_lines(f"a{nasty}b\nc").replace("\n", "").isprintable()


def test_letters_of_all_scripts_are_kept() -> None:
    assert printable("übergroß 漢字 🚀") == "übergroß 漢字 🚀"


@given(st.text(st.characters()))
def test_escaped_json_has_the_same_meaning(text: str) -> None:
    document = json.dumps({text: [text]}, indent=2, ensure_ascii=False)
    safe = printable_json(document)
    assert json.loads(safe) == {text: [text]}
    assert safe.replace("\n", "").isprintable()


@pytest.mark.parametrize("nasty", [*NASTY, "\nERROR forged"])
def test_a_message_is_one_line_in_the_log(nasty: str) -> None:
    record = logging.LogRecord("n", logging.INFO, "p", 1, "%s", (nasty,), None)
    assert LineFormatter(LOG_FORMAT).format(record).isprintable()


def test_a_traceback_keeps_its_lines() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        divmod(1, 0)
    fault = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "fault", (), fault)
    first, *rest = LineFormatter(LOG_FORMAT).format(record).splitlines()
    assert first == "ERROR fault"
    assert rest[-1].startswith("ZeroDivisionError")
