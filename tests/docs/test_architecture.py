# SPDX-License-Identifier: Apache-2.0
"""The pictures of the packages show the packages that there are, in their layers."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.docs.documents import ROOT, blocks_of

PAGE = ROOT / "docs" / "architecture.md"


def picture_of(package: str) -> list[set[str]]:
    """Return the names in a package's picture, by layer from the top."""
    picture = next(
        block
        for block in blocks_of(PAGE, "mermaid")
        if f"subgraph {package}\n" in block
    )
    layers = re.findall(r'subgraph layer\d+\[" "\]\n(.*?)end\n', picture, re.DOTALL)
    return [set(re.findall(r'\w+\["(\w+)"\]', layer)) for layer in layers]


def contract_of(package: str) -> list[set[str]]:
    """Return the names in a package's layers contract, from the top."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts: list[dict[str, Any]] = tomllib.loads(text)["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [c["layers"] for c in contracts if c.get("containers") == [package]]
    return [set(layer.split(" | ")) for layer in layers]


def find_members(package: str) -> set[str]:
    """Return the packages and modules directly in a package."""
    paths = [*(ROOT / package).glob("*.py"), *(ROOT / package).glob("*/__init__.py")]
    names = {p.parent.name if p.name == "__init__.py" else p.stem for p in paths}
    return names - {package}


@pytest.mark.parametrize("package", ["orchestrator", "cli"])
def test_the_picture_shows_the_layers_of_the_contract(package: str) -> None:
    assert picture_of(package) == contract_of(package)


@pytest.mark.parametrize("package", ["orchestrator", "cli"])
def test_the_picture_shows_every_package_there_is(package: str) -> None:
    assert set().union(*picture_of(package)) == find_members(package)


@pytest.mark.parametrize("package", ["orchestrator", "cli"])
def test_each_layer_is_above_the_next_one(package: str) -> None:
    picture = next(
        b for b in blocks_of(PAGE, "mermaid") if f"subgraph {package}\n" in b
    )
    arrows = re.findall(r"(?=layer(\d+) --> layer(\d+))", picture)
    count = len(picture_of(package))
    assert sorted((int(a), int(b)) for a, b in arrows) == [
        (number, number + 1) for number in range(1, count)
    ]
