# SPDX-License-Identifier: Apache-2.0
"""The connection to a libvirtd that is killed, frozen and restarted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from orchestrator.config import Access
from orchestrator.errors import DomainGone, HypervisorError, HypervisorGone
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.values.domain import DomainId
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    import libvirt

    from tests.hypervisor.conftest import Recorder
    from tests.rig.libvirtd import SessionHost, SystemHost

pytestmark = pytest.mark.rig

UUID = DomainId("7779e6cd-caca-4c68-8934-da43e4863198")
DEFINITION = f"""
<domain type='qemu'><name>d</name><uuid>{UUID}</uuid><memory unit='MiB'>32</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""

Start = Callable[..., Hypervisor]


@pytest.fixture
def start(session_host: SessionHost, recorder: Recorder) -> Iterator[Start]:
    started: list[Hypervisor] = []

    def start_one(**arguments: object) -> Hypervisor:
        hypervisor = Hypervisor(session_host.uri, post=recorder.post, **arguments)  # type: ignore[arg-type]
        started.append(hypervisor)
        hypervisor.start()
        return hypervisor

    yield start_one
    for hypervisor in started:
        hypervisor.close(0.5)


def test_an_absent_libvirt_is_waited_for(
    session_host: SessionHost, recorder: Recorder, start: Start
) -> None:
    session_host.libvirtd.stop()
    hypervisor = start()
    recorder.wait_for("waiting")
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    session_host.libvirtd.start()
    recorder.wait_for("connected")
    assert hypervisor.list_domains() == ()
    assert hypervisor.reconnects_total == 0


def test_a_lost_connection_is_reestablished_with_its_events(
    session_host: SessionHost,
    recorder: Recorder,
    start: Start,
    open_connection: Callable[[str], libvirt.virConnect],
) -> None:
    hypervisor = start()
    recorder.wait_for("connected")
    session_host.libvirtd.kill()
    recorder.wait_for("lost", "libvirt ended")
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    session_host.libvirtd.start()
    recorder.wait_for("connected", times=2)
    assert hypervisor.reconnects_total == 1
    domain = open_connection(session_host.uri).defineXML(DEFINITION)
    recorder.wait_for("changed", UUID, "defined")
    assert hypervisor.list_domains() == (UUID,)
    domain.undefine()
    recorder.wait_for("changed", UUID, "undefined")


def test_a_libvirt_that_hangs_is_given_up_and_reconnected(
    session_host: SessionHost, recorder: Recorder, start: Start
) -> None:
    hypervisor = start(keepalive_interval_s=1)
    recorder.wait_for("connected")
    session_host.libvirtd.freeze()
    # A pending call returns, too.
    with pytest.raises(HypervisorGone):
        hypervisor.list_domains()
    recorder.wait_for("lost", "libvirt does not answer")
    recorder.wait_for("waiting", f"{session_host.uri} does not answer")
    session_host.libvirtd.thaw()
    recorder.wait_for("connected", times=2)
    assert hypervisor.list_domains() == ()


def test_a_change_does_not_wait_for_a_libvirt_that_hangs(
    session_host: SessionHost, recorder: Recorder, start: Start
) -> None:
    hypervisor = start(open_timeout_s=0.5)
    recorder.wait_for("connected")
    session_host.libvirtd.freeze()
    with pytest.raises(HypervisorGone, match="does not answer"):
        hypervisor.attach_channels(UUID, [0], [0])
    session_host.libvirtd.thaw()

    def is_answered() -> bool:
        with pytest.raises(HypervisorError) as refusal:
            hypervisor.attach_channels(UUID, [0], [0])
        return isinstance(refusal.value, DomainGone)

    wait_for(is_answered, "libvirt's own refusal")


def test_closing_returns_in_time_while_libvirt_hangs(
    session_host: SessionHost, recorder: Recorder, start: Start
) -> None:
    hypervisor = start()
    recorder.wait_for("connected")
    session_host.libvirtd.freeze()
    hypervisor.close(0.5)
    # Before libvirt continues, and before its connection is given up.
    assert recorder.recorded[-1] == ("connected",)
    session_host.libvirtd.thaw()


ENDING = """
import os, signal, sys, threading
from orchestrator.events import LibvirtConnected
from orchestrator.hypervisor.connection import Hypervisor
connected = threading.Event()
def post(event):
    if isinstance(event, LibvirtConnected): connected.set()
    else: print(event)
hypervisor = Hypervisor(sys.argv[1], post=post)
hypervisor.start()
connected.wait()
domain_list = hypervisor.list_domains()
print("ready", flush=True)
sys.stdin.readline()
threading.Thread(target=hypervisor.list_domains, daemon=True).start()
hypervisor.close(0.5)
print("closed", flush=True)
"""


def test_a_process_exits_in_time_while_libvirt_hangs(session_host: SessionHost) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, session_host.uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line.strip() != "ready":
            line = process.stdout.readline()
        session_host.libvirtd.freeze()
        # Before the connection is given up: that would be printed.
        output, _ = process.communicate("\n", timeout=60)
        assert output == "closed\n"
        assert process.returncode == 0
    session_host.libvirtd.thaw()


def test_a_read_only_connection_lists_domains(recorder: Recorder, start: Start) -> None:
    hypervisor = start(access=Access.READ_ONLY)
    recorder.wait_for("connected")
    assert hypervisor.list_domains() == ()


READING = """
import os, sys, threading
from orchestrator.errors import HypervisorError
from orchestrator.events import LibvirtConnected
from orchestrator.hypervisor.connection import Hypervisor
connected = threading.Event()
def post(event):
    if isinstance(event, LibvirtConnected): connected.set()
    else: print(event)
hypervisor = Hypervisor("qemu:///system", post=post)
# The user nobody may not use the read-write socket. Only now, because of the imports.
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
hypervisor.start()
connected.wait()
print(len(hypervisor.list_domains()))
try:
    hypervisor.attach_channels("7779e6cd-caca-4c68-8934-da43e4863198", [0], [0])
except HypervisorError as error:
    print(error.hint)
hypervisor.close(5)
"""


def test_without_write_access_reads_work_and_changes_name_the_missing_right(
    system_host: SystemHost,
) -> None:
    domains = len(system_host.connection.listAllDomains())
    done = subprocess.run(
        [sys.executable, "-c", READING],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    count, hint = done.stdout.splitlines()
    assert int(count) == domains
    assert "join libvirt's group" in hint
