# SPDX-License-Identifier: Apache-2.0
"""Notes of attached channels, as other programs may leave them."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.note import (
    NOTE_PREFIX,
    NOTE_URI,
    Note,
    build_note,
    parse_note,
)


def with_note(attributes: str) -> str:
    element = f"<{NOTE_PREFIX}:attached xmlns:{NOTE_PREFIX}='{NOTE_URI}' {attributes}/>"
    return f"<domain><metadata>{element}</metadata></domain>"


@pytest.mark.parametrize(
    "note",
    [
        Note(),
        Note(numbers=frozenset({0, 1})),
        Note(numbers=frozenset({0, 1, 5}), by_rule=frozenset({1})),
        Note(
            numbers=frozenset({0}),
            controllers=frozenset({"virtio-serial:0", "pci:4"}),
        ),
        Note(controllers=frozenset({"pci:4"})),
    ],
)
def test_what_is_written_is_read(note: Note) -> None:
    text = build_note(note)
    assert (text is None) == (note == Note())
    attributes = (text or "").removeprefix("<attached").removesuffix("/>")
    assert parse_note(with_note(attributes)) == note


def test_channels_are_added_to_a_note_and_forgotten_when_they_are_gone() -> None:
    note = Note().with_channels(frozenset({0}), is_by_rule=False)
    note = note.with_channels(frozenset({1, 2}), is_by_rule=True)
    assert note == Note(numbers=frozenset({0, 1, 2}), by_rule=frozenset({1, 2}))
    assert note.within([0, 2]) == Note(
        numbers=frozenset({0, 2}), by_rule=frozenset({2})
    )


def test_numbers_that_are_none_mean_that_nothing_was_attached() -> None:
    assert parse_note(with_note("numbers='all of them' rule='0'")) == Note()
