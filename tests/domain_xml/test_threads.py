# SPDX-License-Identifier: Apache-2.0
"""Emulator and I/O threads that a domain pins."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.parse import parse_domain

DOMAIN = """<domain type='kvm' id='1'><name>fw</name>
<uuid>11111111-1111-4111-8111-111111111111</uuid>{parts}</domain>"""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("<vcpu>2</vcpu>", {}),
        (
            "<cputune><emulatorpin cpuset='0-1,^0'/></cputune>",
            {"emulator": {1}},
        ),
        ("<vcpu cpuset='4-5'>2</vcpu>", {"emulator": {4, 5}}),
        (
            (
                "<vcpu cpuset='4'>2</vcpu><iothreads>2</iothreads><cputune>"
                "<emulatorpin cpuset='0'/><iothreadpin iothread='2' cpuset='6'/>"
                "</cputune>"
            ),
            {"emulator": {0}, "I/O thread 1": {4}, "I/O thread 2": {6}},
        ),
        (
            (
                "<iothreads>1</iothreads><iothreadids><iothread id='7'/>"
                "<iothread id='x'/></iothreadids>"
                "<cputune><iothreadpin iothread='7' cpuset='3'/></cputune>"
            ),
            {"I/O thread 7": {3}},
        ),
        ("<cputune><emulatorpin cpuset='x'/></cputune>", {}),
        ("<cputune><emulatorpin/></cputune>", {}),
        ("<iothreads>99999999999999999999</iothreads>", {}),
        ("<iothreads>-1</iothreads>", {}),
    ],
)
def test_threads_that_are_pinned_are_read(
    parts: str, expected: dict[str, set[int]]
) -> None:
    threads = parse_domain(DOMAIN.format(parts=parts)).threads
    assert {it.name: set(it.pinning) for it in threads} == expected
