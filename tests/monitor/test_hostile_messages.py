# SPDX-License-Identifier: Apache-2.0
"""Messages that the other process has made up: valid, or refused as a whole."""

from __future__ import annotations

import json
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import HandoffError
from orchestrator.monitor.link.messages import Message, decode, encode
from tests.mutations import mutated
from tests.properties import examples

pytestmark = pytest.mark.fuzz

KINDS = {kind.__name__: len(get_type_hints(kind)) for kind in Message.__args__}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just("00000000-0000-4000-8000-000000000001"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """Draw a message of a known kind with as many fields as it has, or nearly."""
    name, count = draw(st.sampled_from(sorted(KINDS.items())))
    size = max(0, count + draw(st.sampled_from([0, 0, 0, 0, -1, 1])))
    fields = draw(st.lists(values, min_size=size, max_size=size))
    return json.dumps([name, fields]).encode()


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = draw(_messages())
    text = draw(mutated([data.decode()], ("[", "]", '"', "{", "null", "-1", ",")))
    return text.encode("utf-8", "replace")


@settings(max_examples=examples(200), deadline=None)
@given(_messages() | _damaged())
def test_a_made_up_message_is_valid_or_refused(data: bytes) -> None:
    try:
        message = decode(data)
    except HandoffError:
        return
    assert decode(encode(message)) == message
