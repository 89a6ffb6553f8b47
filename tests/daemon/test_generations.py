# SPDX-License-Identifier: Apache-2.0
"""Guests of all generations in a real VM, one after the other on one port.

DPDK's own library, which is of the latest generation, is in `test_dpdk`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    GENERATIONS,
    Answer,
    decode_capabilities,
    decode_frequencies,
    encode_answer,
)
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig import dialogue
from tests.rig.shell import GuestShell, shell_guest
from tests.rig.waiting import GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from orchestrator.channel.protocol import Generation
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

CLOCK = "devices/system/cpu/cpufreq/policy0/scaling_cur_freq"
TURBO, LOWEST = 3_001_000, 1_200_000
PORT = "/dev/virtio-ports/virtio.serial.port.poweragent.0"
PROGRAM = f"PYTHONPATH=/vmpower-guest.pyz python3 /dialogue.py {PORT}"
VCPUS = 2


def test_guests_of_every_generation_are_served_and_answered_in_their_format(
    system_host: SystemHost, tree: CpuTree, archive: Path
) -> None:
    files = {
        "/vmpower-guest.pyz": archive,
        "/dialogue.py": Path(dialogue.__file__),
    }
    guest = system_host.start(shell_guest("any", files, pins={0: "0", 1: "1"}))
    with DaemonProcess(system_host.uri, tree.root, release_after_s=0.3) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open")
        with GuestShell(guest) as shell:
            shell.run(f"until [ -e {PORT} ]; do usleep 20000; /bin/name-ports; done")
            # The latest one again: a recognized generation is only a first guess.
            for size in (*GENERATIONS, 464, 16):
                messages = talk(shell, size)
                check(messages, GENERATIONS[size])
                wait_for_frequency(tree, LOWEST)
                assert generation_of(daemon, guest) == size
                shell.stop("/log")
                wait_for_frequency(tree, TURBO)
        installed = daemon.log_text().count("of guest channel 0 is in force")
    guest.remove()
    assert installed == len([*GENERATIONS, 464]) - 1


def wait_for_frequency(tree: CpuTree, khz: int) -> None:
    wait_for(
        lambda: tree.read_khz(CLOCK) == khz, f"{khz} kHz", timeout_s=GUEST_DEADLINE_S
    )


def talk(shell: GuestShell, size: int) -> dict[str, tuple[bytes, bytes]]:
    """Run the guest's program; return its packets and answers by name."""
    names = ["connect", *(name for name, *_ in dialogue.messages(GENERATIONS[size]))]
    shell.start(f"{PROGRAM} {size}", "/log")
    lines: list[str] = []

    def is_done() -> bool:
        lines[:] = shell.run("cat /log").printed.splitlines()
        return len(lines) >= len(names)

    wait_for(
        is_done, f"all messages of a guest of {size} bytes", timeout_s=GUEST_DEADLINE_S
    )
    sent = [json.loads(line) for line in lines]
    assert [line["name"] for line in sent] == names
    return {
        line["name"]: (bytes.fromhex(line["sent"]), bytes.fromhex(line["answer"]))
        for line in sent
    }


def generation_of(daemon: DaemonProcess, guest: Guest) -> int | None:
    channel = find_channel(daemon.status(), guest.name, 0)
    return channel["generation"] if channel else None


def check(messages: dict[str, tuple[bytes, bytes]], generation: Generation) -> None:
    """Compare the answers, byte by byte where the protocol specifies all bytes."""
    answers = {name: answer for name, (_, answer) in messages.items()}
    if not generation.is_answered:
        assert answers == dict.fromkeys(messages, b"")
        return
    for name in ("connect", "removal"):
        assert answers[name] == b"", name
    for name in ("min", "down"):
        assert answers[name] == messages[name][0]
    policy, absent = messages["policy"][0], messages["absent"][0]
    assert answers["policy"] == encode_answer(policy, Answer.ACK, generation)
    assert answers["absent"] == encode_answer(absent, Answer.NACK, generation)
    frequencies = decode_frequencies(answers["frequencies"], generation)
    assert (frequencies.command, frequencies.num_vcpu) == (Answer.FREQ_LIST, VCPUS)
    assert frequencies.khz == (LOWEST, *[0] * 7)
    capabilities = decode_capabilities(answers["capabilities"], generation)
    assert (capabilities.command, capabilities.num_vcpu) == (Answer.CAPS_LIST, VCPUS)
    assert (capabilities.turbo, capabilities.priority) == ((1, 1, *[0] * 6), (0,) * 8)
