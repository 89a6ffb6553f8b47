# SPDX-License-Identifier: Apache-2.0
"""A guest of any generation: runs inside a VM, and prints the answers it receives.

Usage: PYTHONPATH=vmpower-guest.pyz python3 dialogue.py DEVICE BYTES

BYTES is the packet size of the generation. The program sends everything that DPDK's
library and guest command line of that generation can send: CONNECT, requests, and from
456 bytes on a policy. If its generation is answered, it waits for each answer, and
repeats the message if there is none; otherwise it checks that nothing arrives. For each
message it prints one line of JSON, and then keeps the port open until it is killed.
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
"""Longer than the silence after which the host knows that a packet is complete."""
TIMEOUT_S = 0.5
"""An answer that has not arrived by then was late, and was dropped."""
TRIES = 40
ABSENT_VCPU = 7

Message = tuple[str, bytes, int]
"""Name, packet, and size of the answer in bytes; 0: there is none."""


def messages(generation: Generation) -> list[Message]:
    """Return the messages of a guest of this generation after CONNECT, in order."""
    size = generation.size_bytes if generation.is_answered else 0
    found = [
        ("min", encode(Request(0, Unit.SCALE_MIN), generation), size),
        ("absent", encode(Request(ABSENT_VCPU, Unit.SCALE_MIN), generation), size),
    ]
    if generation.policy is not None:
        found.append(("policy", encode_policy(_low(), generation), size))
    if generation.frequencies is not None and generation.capabilities is not None:
        for command, name, layout in (
            (Command.QUERY_FREQ_LIST, "frequencies", generation.frequencies),
            (Command.QUERY_CAPS_LIST, "capabilities", generation.capabilities),
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
    """Read an answer of a number of bytes; empty: there is none."""
    data = b""
    while len(data) < size and select.select([port], [], [], TIMEOUT_S)[0]:
        data += os.read(port, size - len(data))
    return data


def listen(port: int) -> bytes:
    """Wait for anything that should not arrive."""
    is_there = select.select([port], [], [], LISTEN_S)[0]
    return os.read(port, 4096) if is_there else b""


def send(port: int, packet: bytes, answer_bytes: int) -> bytes:
    """Send a packet; return the answer."""
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
    """Send all messages, and keep the port open."""
    port = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    connect = ("connect", encode_connect(generation), 0)
    for name, packet, answer_bytes in (connect, *messages(generation)):
        answer = send(port, packet, answer_bytes)
        line = {"name": name, "sent": packet.hex(), "answer": answer.hex()}
        print(json.dumps(line), flush=True)  # noqa: T201 - this is what it is for
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], GENERATIONS[int(sys.argv[2])])
