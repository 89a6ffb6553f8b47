# SPDX-License-Identifier: Apache-2.0
"""QEMU's own threads that a domain's XML pins: the emulator and the I/O threads.

Those that may run anywhere are left out: no CPU is theirs.

Source: libvirt's formatdomain, "CPU Tuning" (emulatorpin, iothreadpin) and "I/O Threads
Allocation"; without a pinning of their own, the cpuset of <vcpu> applies to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import PCpu, QemuThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml import etree

EMULATOR = "emulator"
_MAX_THREADS = 1024


def read_threads(root: etree._Element) -> tuple[QemuThread, ...]:
    """Read the threads of a domain that are pinned; never fails."""
    return tuple(thread for thread in _read(root) if thread.pinning)


def _read(root: etree._Element) -> Iterator[QemuThread]:
    vcpu, pin = root.find("vcpu"), root.find("cputune/emulatorpin")
    otherwise = _cpus_of(vcpu)
    yield QemuThread(name=EMULATOR, pinning=_cpus_of(pin) or otherwise)
    pinned = {
        str(item.get("iothread")): _cpus_of(item)
        for item in root.iterfind("cputune/iothreadpin")
    }
    for number in _io_threads(root):
        pinning = pinned.get(number) or otherwise
        yield QemuThread(name=f"I/O thread {number}", pinning=pinning)


def _io_threads(root: etree._Element) -> list[str]:
    named = [str(item.get("id")) for item in root.iterfind("iothreadids/iothread")]
    if named:
        return [word for word in named[:_MAX_THREADS] if word.isdecimal()]
    word = (root.findtext("iothreads") or "").strip()
    is_count = word.isascii() and word.isdigit() and len(word) <= len(str(_MAX_THREADS))
    return [str(n + 1) for n in range(min(int(word), _MAX_THREADS) if is_count else 0)]


def _cpus_of(element: etree._Element | None) -> frozenset[PCpu]:
    if element is None:
        return frozenset()
    try:
        return frozenset(map(PCpu, parse_cpulist(str(element.get("cpuset", "")))))
    except ConfigError:
        return frozenset()
