# SPDX-License-Identifier: Apache-2.0
"""The table of labs in docs/drivers.md has a row for each lab."""

from __future__ import annotations

import re

from tests.docs.documents import ROOT, read
from tests.rig.labs import IDLE_STATES, LABS, UNCORE


def test_every_lab_has_a_row_that_names_its_driver() -> None:
    row = re.compile(r"^\| `(\S+)` \| (\S+) \|", re.MULTILINE)
    rows = row.findall(read(ROOT / "docs/drivers.md"))
    labs = (*LABS, IDLE_STATES, UNCORE)
    assert rows == [(lab.name, lab.scaling_driver) for lab in labs]
