"""A guest of any generation: runs inside a VM, and prints what it was answered.

Usage: PYTHONPATH=vmpower-guest.pyz python3 dialogue.py DEVICE BYTES

BYTES is the size of the generation's packets. What DPDK's library and its guest command
line of that time can send is sent: CONNECT, requests, and from 456 bytes on a policy.
Guests whose generation is answered wait for each answer, and ask again if none comes;
the others listen whether anything comes. One line of JSON per message goes to standard
output, and then the port stays open until the program is ended.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys

from orchestrator.channel.protocol import (
    GENERATIONS,
    Command,
    Generation,
    PolicyKind,
    PolicyPacket,
    Request,
    Unit,
    WorkloadLevel,
    encode,
    encode_connect,
    encode_policy,
)

LISTEN_S = 0.1
"""More than the silence by which the host knows that a packet is whole."""
PATIENCE_S = 0.5
"""An answer that is not there by then was too late to be given."""
TRIES = 40
ABSENT_VCPU = 7

Message = tuple[str, bytes, int]
"""Its name, its packet, and the bytes of its answer; 0: nothing comes."""


def messages(generation: Generation) -> list[Message]:
    """Return what a guest of this generation says after CONNECT, in order."""
    size = generation.size_bytes if generation.is_answered else 0
    found = [
        ("min", encode(Request(0, Unit.SCALE_MIN), generation), size),
        ("absent", encode(Request(ABSENT_VCPU, Unit.SCALE_MIN), generation), size),
    ]
    if generation.policy is not None:
        found.append(("policy", encode_policy(_low(), generation), size))
    if generation.frequencies is not None and generation.capabilities is not None:
        for command, name, layout in (
            (Command.QUERY_FREQ_LIST, "clocks", generation.frequencies),
            (Command.QUERY_CAPS_LIST, "abilities", generation.capabilities),
            (Command.PKT_POLICY_REMOVE, "removal", None),
        ):
            packet = encode(Request(0, 0, command), generation)
            found.append((name, packet, 0 if layout is None else layout.size))
    last = encode(Request(0, Unit.SCALE_DOWN), generation)
    return [*found, ("down", last, size)]


def _low() -> PolicyPacket:
    return PolicyPacket(
        policy=PolicyKind.WORKLOAD, workload=WorkloadLevel.LOW, num_vcpu=1
    )


def receive(port: int, size: int) -> bytes:
    """Read an answer of so many bytes; empty: it did not come."""
    data = b""
    while len(data) < size and select.select([port], [], [], PATIENCE_S)[0]:
        data += os.read(port, size - len(data))
    return data


def listen(port: int) -> bytes:
    """Wait whether something comes that nobody should send."""
    is_there = select.select([port], [], [], LISTEN_S)[0]
    return os.read(port, 4096) if is_there else b""


def say(port: int, packet: bytes, answer_bytes: int) -> bytes:
    """Send a packet; return what came back."""
    if not answer_bytes:
        os.write(port, packet)
        return listen(port)
    for _ in range(TRIES):
        os.write(port, packet)
        answer = receive(port, answer_bytes)
        if answer:
            return answer
    return b""


def main(device: str, generation: Generation) -> None:
    """Say all of it, and hold what was asked for."""
    port = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    connect = ("connect", encode_connect(generation), 0)
    for name, packet, answer_bytes in (connect, *messages(generation)):
        answer = say(port, packet, answer_bytes)
        line = {"name": name, "sent": packet.hex(), "answer": answer.hex()}
        print(json.dumps(line), flush=True)  # noqa: T201 - this is what it is for
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], GENERATIONS[int(sys.argv[2])])
