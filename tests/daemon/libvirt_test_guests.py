# SPDX-License-Identifier: Apache-2.0
"""Domains of libvirt's test driver whose channels end in this process.

The test driver runs domains without QEMU. A channel with an explicit path and a socket
that listens there form a complete channel: the daemon connects to a `GuestEnd`, which
sends packets like a guest's virtio port.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    GENERATION_464,
    Answer,
    Request,
    Unit,
    decode,
    encode,
    encode_connect,
)
from tests.rig.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PACKET_SIZE = GENERATION_464.size_bytes
REPEAT_S = 0.5
"""How long a guest waits for an answer before it repeats its request."""
_TAG_BYTES = 4
"""At the end of a packet, which no host reads; the answer is a copy of the packet."""
RUNNING, SHUT_OFF = 1, 5
"""Values of virDomainState, as the test driver reads them from its file."""


def _is_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)  # POLLHUP is reported in any case
    return bool(poll.poll(0))


class GuestEnd:
    """The guest's end of one channel; listens and accepts at once, like QEMU.

    Synchronization: one thread, beside the one that accepts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._accepted: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._peer: socket.socket | None = None
        self._requests_total = 0
        self._thread = threading.Thread(target=self._accept_all)
        self._thread.start()

    def _accept_all(self) -> None:
        with contextlib.suppress(OSError):  # the listener was shut down
            while True:
                self._accepted.put(self._listener.accept()[0])

    def accept(self) -> None:
        """Use the next open connection; the last one, if any, is closed.

        On a busy machine this end may accept a connection when the host has given it up
        and is about to try again.
        """
        is_open = False
        while not is_open:
            if self._peer is not None:
                self._peer.close()
            self._peer = self._accepted.get(timeout=DEADLINE_S)
            is_open = not _is_hung_up(self._peer)

    def try_accept(self, timeout_s: float = 0.1) -> bool:
        """Use the next connection if there is one soon."""
        try:
            accepted = self._accepted.get(timeout=timeout_s)
        except queue.Empty:
            return False
        self.peer.close()
        self._peer = accepted
        return True

    @property
    def peer(self) -> socket.socket:
        """The accepted connection."""
        assert self._peer is not None, "accept first"
        return self._peer

    def connect_packet(self) -> None:
        """Send CONNECT, which has no answer."""
        self.peer.sendall(encode_connect())

    def request(self, vcpu: int, unit: Unit) -> Answer:
        """Send a request and wait for its answer, see `exchange`.

        A request that was repeated may be answered as often. Those answers are skipped
        by the next request, which has another tag.
        """
        self._requests_total += 1
        tag = self._requests_total.to_bytes(_TAG_BYTES, "little")
        packet = encode(Request(vcpu, unit))[:-_TAG_BYTES] + tag
        return Answer(decode(self.exchange(packet, tag=tag)).command)

    def send_packet(self, packet: bytes) -> Answer:
        """Send a packet whose ACK is its echo and wait for that, see `exchange`."""
        return Answer(decode(self.exchange(packet)).command)

    def exchange(
        self, packet: bytes, answer_bytes: int = PACKET_SIZE, *, tag: bytes = b""
    ) -> bytes:
        """Send a packet and return its answer; repeat it if there is none.

        As a guest does: an answer that would be late is not sent at all.

        Args:
            packet: what is sent.
            answer_bytes: size of the answer.
            tag: how the answer ends; other answers are skipped.
        """
        for _ in range(round(DEADLINE_S / REPEAT_S)):
            self.peer.settimeout(REPEAT_S)
            self.peer.sendall(packet)
            with contextlib.suppress(TimeoutError):
                answer = self._read(answer_bytes)
                while not answer.endswith(tag):
                    answer = self._read(answer_bytes)
                return answer
        raise TimeoutError("no answer")

    def answer(self) -> Answer:
        """Read one answer that is an echo."""
        return Answer(decode(self._read(PACKET_SIZE)).command)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.peer.recv(size - len(data))
            if not piece:
                raise EOFError("the daemon hung up")
            data += piece
        return data

    def close(self) -> None:
        """Close everything, like a QEMU that dies; may be repeated."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        while not self._accepted.empty():
            self._accepted.get().close()
        if self._peer is not None:
            self._peer.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDomain:
    """A domain of the test driver."""

    name: str
    pins: Sequence[str] = ("0",)
    """The CPU list of each vCPU."""
    paths: Mapping[int, Path]
    """Channel number to socket."""
    number: int = 1
    emulator: str = ""
    """The CPU list of the emulator; empty: it is not pinned."""
    devices: str = ""
    """XML of more devices."""
    metadata: str = ""
    """XML inside `<metadata>`."""
    is_running: bool = True
    """Whether it runs; else it is shut off."""


def domain_xml(domain: DriverDomain) -> str:
    """Return the domain's XML for the test driver's file."""
    pins = "".join(
        f"<vcpupin vcpu='{vcpu}' cpuset='{cpus}'/>"
        for vcpu, cpus in enumerate(domain.pins)
    )
    if domain.emulator:
        pins += f"<emulatorpin cpuset='{domain.emulator}'/>"
    channels = "".join(
        f"<channel type='unix'><source mode='bind' path='{path}'/>"
        "<target type='virtio' name='virtio.serial.port.poweragent."
        f"{number}'/></channel>"
        for number, path in domain.paths.items()
    )
    return f"""<domain type='test' id='{domain.number}'
    xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>{domain.name}</name>
  <uuid>00000000-0000-4000-8000-{domain.number:012x}</uuid>
  <memory>65536</memory><vcpu placement='static'>{len(domain.pins)}</vcpu>
  <metadata>{domain.metadata}</metadata><cputune>{pins}</cputune>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>{channels}{domain.devices}</devices>
  <test:runstate>{RUNNING if domain.is_running else SHUT_OFF}</test:runstate>
</domain>"""


def write_driver_file(file: Path, domains: Sequence[DriverDomain]) -> str:
    """Write a host with domains to a file; return the URI that opens it."""
    text = "".join(domain_xml(domain) for domain in domains)
    file.write_text(f"<node>{text}</node>", encoding="utf-8")
    return f"test://{file}"


@contextlib.contextmanager
def guest_ends(directory: Path, count: int) -> Iterator[list[GuestEnd]]:
    """Listen on a number of channels."""
    with contextlib.ExitStack() as stack:
        ends = []
        for number in range(count):
            end = GuestEnd(directory / f"{number}")
            stack.callback(end.close)
            ends.append(end)
        yield ends


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Read every file below a directory, to be compared later."""
    return {
        os.fspath(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
