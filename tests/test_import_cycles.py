# SPDX-License-Identifier: Apache-2.0
"""No module imports itself through others, not even for its type hints."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def read_imports(package: str) -> dict[str, set[str]]:
    """Return what each module of a package imports of it, hints and functions too."""
    files = {_name(path): path for path in (ROOT / package).rglob("*.py")}
    return {
        name: {
            found
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for found in _imported(node, files)
        }
        for name, path in files.items()
    }


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(node: ast.AST, files: dict[str, Path]) -> set[str]:
    if isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        # What is not a module is a name in the package.
        of = {f"{node.module}.{alias.name}" for alias in node.names}
        names = of & files.keys() or {node.module or ""}
    else:
        names = set()
    return names & files.keys()


@pytest.mark.parametrize("package", ["orchestrator", "cli", "domain_templates"])
def test_no_import_comes_back(package: str) -> None:
    imports = read_imports(package)
    assert len(imports) > 5
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
