"""Against a libvirtd of our own, which is killed, stopped and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from orchestrator.domain import DomainId
from orchestrator.errors import HypervisorGone
from orchestrator.hypervisor.connection import Access, Hypervisor

if TYPE_CHECKING:
    import libvirt

    from tests.hypervisor.conftest import Libvirtd, Recorder

pytestmark = pytest.mark.rig

UUID = DomainId("7779e6cd-caca-4c68-8934-da43e4863198")
DEFINITION = f"""
<domain type='qemu'><name>d</name><uuid>{UUID}</uuid><memory unit='MiB'>32</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""

Start = Callable[..., Hypervisor]


@pytest.fixture
def start(libvirtd: Libvirtd, recorder: Recorder) -> Iterator[Start]:
    started: list[Hypervisor] = []

    def start_one(**arguments: object) -> Hypervisor:
        hypervisor = Hypervisor(libvirtd.uri, listener=recorder, **arguments)  # type: ignore[arg-type]
        started.append(hypervisor)
        hypervisor.start()
        return hypervisor

    yield start_one
    for hypervisor in started:
        hypervisor.close(0.5)


def test_libvirt_that_is_absent_is_waited_for(
    libvirtd: Libvirtd, recorder: Recorder, start: Start
) -> None:
    hypervisor = start()
    recorder.wait_for("waiting")
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    libvirtd.start()
    recorder.wait_for("connected")
    assert hypervisor.list_domains() == ()
    assert hypervisor.reconnects_total == 0


def test_a_connection_that_ends_comes_back_with_its_events(
    libvirtd: Libvirtd,
    recorder: Recorder,
    start: Start,
    open_connection: Callable[[str], libvirt.virConnect],
) -> None:
    libvirtd.start()
    hypervisor = start()
    recorder.wait_for("connected")
    libvirtd.kill()
    recorder.wait_for("lost", "libvirt ended")
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    libvirtd.start()
    recorder.wait_for("connected", times=2)
    assert hypervisor.reconnects_total == 1
    domain = open_connection(libvirtd.uri).defineXML(DEFINITION)
    recorder.wait_for("changed", UUID, "defined")
    assert hypervisor.list_domains() == (UUID,)
    domain.undefine()
    recorder.wait_for("changed", UUID, "undefined")


def test_a_libvirt_that_hangs_is_given_up_and_found_again(
    libvirtd: Libvirtd, recorder: Recorder, start: Start
) -> None:
    libvirtd.start()
    hypervisor = start(keepalive_interval_s=1)
    recorder.wait_for("connected")
    libvirtd.signal(signal.SIGSTOP)
    # A question that waits is freed, too.
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    recorder.wait_for("lost", "libvirt does not answer")
    recorder.wait_for("waiting", f"{libvirtd.uri} does not answer")
    libvirtd.signal(signal.SIGCONT)
    recorder.wait_for("connected", times=2)
    assert hypervisor.list_domains() == ()


def test_closing_returns_in_time_while_libvirt_hangs(
    libvirtd: Libvirtd, recorder: Recorder, start: Start
) -> None:
    libvirtd.start()
    hypervisor = start()
    recorder.wait_for("connected")
    libvirtd.signal(signal.SIGSTOP)
    begun = time.monotonic()
    hypervisor.close(0.5)
    assert time.monotonic() - begun < 1.5
    libvirtd.signal(signal.SIGCONT)
    assert recorder.heard[-1] == ("connected",)


ENDING = """
import os, signal, sys, threading
from orchestrator.hypervisor.connection import Hypervisor
connected = threading.Event()
class Listener:
    def connected(self): connected.set()
    def waiting(self, reason): print(reason)
hypervisor = Hypervisor(sys.argv[1], listener=Listener())
hypervisor.start()
connected.wait()
domain_list = hypervisor.list_domains()
print("ready", flush=True)
sys.stdin.readline()
threading.Thread(target=hypervisor.list_domains, daemon=True).start()
hypervisor.close(0.5)
print("closed", flush=True)
"""


def test_a_process_ends_in_time_while_libvirt_hangs(libvirtd: Libvirtd) -> None:
    libvirtd.start()
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, libvirtd.uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line.strip() != "ready":
            line = process.stdout.readline()
        libvirtd.signal(signal.SIGSTOP)
        begun = time.monotonic()
        output, _ = process.communicate("\n", timeout=10)
        assert output == "closed\n"
        assert process.returncode == 0
        assert time.monotonic() - begun < 3
    libvirtd.signal(signal.SIGCONT)


def test_who_may_only_read_reads(
    libvirtd: Libvirtd, recorder: Recorder, start: Start
) -> None:
    libvirtd.start()
    hypervisor = start(access=Access.READ_ONLY)
    recorder.wait_for("connected")
    assert hypervisor.list_domains() == ()
