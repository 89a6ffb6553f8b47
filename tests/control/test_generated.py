# SPDX-License-Identifier: Apache-2.0
"""The client's side of the API, as it is generated from the server's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from pydantic import Field

from orchestrator.control import models
from orchestrator.control.calls import CALLS
from orchestrator.control.models import Cpu, Document
from orchestrator.values.domain_settings import Mode
from scripts.api.__main__ import GENERATED, ROOT
from scripts.api.documents import type_text
from scripts.api.reference import write_reference
from scripts.api.shapes import NOUNS, shapes_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("path", "write"), GENERATED.items(), ids=list(GENERATED))
def test_the_generated_modules_are_up_to_date(
    path: str, write: Callable[[], str]
) -> None:
    kept = (ROOT / path).read_bytes()
    assert kept == write().encode(), "run 'make api' and commit the result"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str | None, "str | None"),
        (Annotated[int, Field(ge=0)], "int"),
        (tuple[Annotated[int, Field(ge=0)], ...], "list[int]"),
        (dict[str, str | int | None], "dict[str, str | int | None]"),
        (tuple[Cpu, ...], "list[Cpu]"),
        (Mode, "str"),
    ],
)
def test_the_type_of_a_key_is_that_of_its_json(annotation: object, text: str) -> None:
    assert type_text(annotation) == text


@pytest.mark.parametrize(
    "annotation", [bytes, set[int], tuple[int, str], dict[int, str], Literal["a"]]
)
def test_a_key_that_has_no_type_in_json_is_an_error(annotation: object) -> None:
    with pytest.raises(TypeError, match="JSON"):
        type_text(annotation)


def test_every_document_is_generated() -> None:
    generated = {shape.name for noun in NOUNS for shape in shapes_of(noun)}
    exported = {
        name
        for name, found in vars(models).items()
        if isinstance(found, type) and issubclass(found, Document)
    }
    assert generated == exported - {"Document"}


def test_the_reference_describes_every_call_and_every_key() -> None:
    text = write_reference()
    for call in CALLS:
        assert f"### {call.method} {call.path}\n\n{call.doc[:20]}" in text
    for noun in NOUNS:
        for shape in shapes_of(noun):
            _, _, section = text.partition(f"\n### {shape.name}\n")
            section, _, _ = section.partition("\n### ")
            described = re.findall(r"^- `(\w+)` \(.+\): \S", section, re.MULTILINE)
            assert described == [key.name for key in shape.keys]


def test_every_link_in_the_reference_leads_to_a_heading() -> None:
    text = write_reference()
    links = set(re.findall(r"\]\(#(\w+)\)", text))
    headings = re.findall(r"^#+ (\w+)$", text, re.MULTILINE)
    assert links
    assert links <= {heading.lower() for heading in headings}
