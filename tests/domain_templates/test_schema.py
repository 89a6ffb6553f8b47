# SPDX-License-Identifier: Apache-2.0
"""Validation by libvirt's schema: its errors name the invalid element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain_templates import validate
from domain_templates.schema import SCHEMA
from orchestrator.errors import DomainXmlError

if TYPE_CHECKING:
    from pathlib import Path

needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no libvirt schema")

DOMAIN = """\
<domain type='qemu'>
  <name>r</name>
  <memory>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <!-- any disk -->
    <disk type='file' device='disk'>
      <source file='/a.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'/>
  </devices>
</domain>
"""


@needs_schema
def test_the_domain_is_valid() -> None:
    assert validate(DOMAIN)


@needs_schema
@pytest.mark.parametrize(
    ("part", "invalid", "line", "message"),
    [
        (
            "<serial type='pty'/>",
            "<serial type='pty'><log file='/l' appended='on'/></serial>",
            12,
            "invalid attribute appended='on' of <log> in domain/devices/serial",
        ),
        (
            "type='pty'",
            "type='ptty'",
            12,
            "invalid, incomplete or unexpected <serial type='ptty'> in domain/devices",
        ),
        (
            "65536",
            "much",
            3,
            "invalid, incomplete or unexpected <memory> 'much' in domain",
        ),
        (
            "<target",
            "<colour/><target",
            10,
            "invalid, incomplete or unexpected <colour> in domain/devices/disk",
        ),
        (  # an element is missing
            "<target dev='vda' bus='virtio'/>",
            "",
            8,
            (
                "invalid, incomplete or unexpected <disk type='file' device='disk'>"
                " in domain/devices"
            ),
        ),
        (  # two errors: the first one is named
            "<serial type='pty'/>",
            "<serial type='one'/><serial type='pty'/><serial type='two'/>",
            12,
            "invalid, incomplete or unexpected <serial type='one'> in domain/devices",
        ),
    ],
)
def test_an_error_names_the_invalid_element(
    part: str, invalid: str, line: int, message: str
) -> None:
    assert part in DOMAIN
    with pytest.raises(DomainXmlError) as caught:
        validate(DOMAIN.replace(part, invalid))
    assert str(caught.value) == (
        f"not valid by libvirt's schema: line {line}: {message}"
    )


@needs_schema
def test_the_line_is_left_out_if_the_user_has_no_text() -> None:
    with pytest.raises(DomainXmlError) as caught:
        validate(DOMAIN.replace("'pty'", "'x'"), has_lines=False)
    assert "schema: invalid, incomplete" in str(caught.value)


@needs_schema
def test_a_missing_element_of_the_domain_is_reported_as_by_libxml2() -> None:
    with pytest.raises(DomainXmlError, match=r"schema: line \d+: .*name"):
        validate(DOMAIN.replace("<name>r</name>", ""))


def test_without_the_schema_nothing_is_checked_and_this_is_reported(
    tmp_path: Path,
) -> None:
    assert not validate("<domain/>", tmp_path / "none.rng")
