# SPDX-License-Identifier: Apache-2.0
"""docs/troubleshooting.md names every check of the doctor, and no other."""

from __future__ import annotations

import re

from cli.doctor.checks import CHECKS
from tests.docs.documents import ROOT, read

_PAGE = read(ROOT / "docs/troubleshooting.md")
_NAMED = re.findall(r"`([a-z]+(?:-[a-z]+)+)`", _PAGE)


def test_every_check_of_the_doctor_is_in_one_table() -> None:
    named = [name for name in _NAMED if not name.startswith("vmpower-")]
    assert sorted(named) == sorted(check.name for check in CHECKS)
