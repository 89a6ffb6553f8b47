# SPDX-License-Identifier: Apache-2.0
"""Hostile texts: valid ones with pieces removed, repeated, exchanged and replaced.

Random text is refused by the first check of a parser; most of a mutated one is valid,
so that every check is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_EDITS = 4
_LONGEST = 60
"""Characters that one edit removes or repeats."""


@st.composite
def mutated(draw: st.DrawFn, texts: Sequence[str], pieces: Sequence[str] = ()) -> str:
    """Draw one of the texts with some edits.

    Args:
        draw: given by hypothesis.
        texts: valid texts.
        pieces: what may be inserted, beside any text.
    """
    text = draw(st.sampled_from(texts))
    inserted = st.text(max_size=8)
    if pieces:
        inserted = st.sampled_from(pieces) | inserted
    for _ in range(draw(st.integers(1, _MOST_EDITS))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, _LONGEST)))
        match draw(st.sampled_from(["remove", "replace", "repeat", "move"])):
            case "remove":
                text = text[:start] + text[end:]
            case "replace":
                text = text[:start] + draw(inserted) + text[end:]
            case "repeat":
                text = text[:end] + text[start:]
            case _:
                piece, rest = text[start:end], text[:start] + text[end:]
                target = draw(st.integers(0, len(rest)))
                text = rest[:target] + piece + rest[target:]
    return text
