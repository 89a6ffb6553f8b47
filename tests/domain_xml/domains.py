# SPDX-License-Identifier: Apache-2.0
"""Domain XML for tests: golden files, and small documents built by the tests."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "domains"
UUID = "5579e6cd-caca-4c68-8934-da43e4863198"


def read_golden(name: str) -> str:
    return (DATA / f"{name}.xml").read_text()


def domain_xml(*devices: str, vcpus: str = "<vcpu>1</vcpu>", run: int = 1) -> str:
    inside = "\n    ".join(devices)
    return (
        f"<domain type='qemu' id='{run}'>\n  <name>made</name>\n"
        f"  <uuid>{UUID}</uuid>\n  {vcpus}\n"
        f"  <devices>\n    {inside}\n  </devices>\n</domain>\n"
    )
