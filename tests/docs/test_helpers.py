# SPDX-License-Identifier: Apache-2.0
"""tests/README.md lists every helper of the tests."""

from __future__ import annotations

import re

from tests.docs.documents import ROOT, read

TESTS = ROOT / "tests"
_UNLISTED = {"__init__.py", "conftest.py"}


def test_every_helper_has_a_row() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", read(TESTS / "README.md")))
    helpers = {
        path.relative_to(ROOT).as_posix()
        for path in TESTS.rglob("*.py")
        if not path.name.startswith("test_") and path.name not in _UNLISTED
    }
    assert len(helpers) > 40
    assert sorted(helpers - named - {"tests/docs/documents.py"}) == []
