# SPDX-License-Identifier: Apache-2.0
"""docs/energy.md has the table that the synthetic hosts give.

`UPDATE_GOLDEN=1 pytest tests/energy/test_document.py` rewrites it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.energy.comparison import build_table

PAGE = Path(__file__).parents[2] / "docs" / "energy.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def test_the_table_is_what_the_synthetic_hosts_give() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page = f"{before}{BEGIN}\n{build_table()}\n\n{END}{after}"
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page, encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == page
